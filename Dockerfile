# The harness on CPUs, without CUDA libraries.
#   docker build -t obfuscation-harness .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" obfuscation-harness run --defense shuffle_mix --attack cnn
FROM python:3.11-slim

# torch for the CPU, from PyTorch's own index, in the versions that the tests ran with.
COPY constraints.txt /src/constraints.txt
RUN grep -E '^torch(vision)?==' /src/constraints.txt > /src/torch.txt \
    && pip install --no-cache-dir --no-deps --index-url https://download.pytorch.org/whl/cpu -r /src/torch.txt

COPY . /src
RUN pip install --no-cache-dir -c /src/constraints.txt /src \
    && rm -r /src \
    && mkdir --mode=1777 /work /home/harness

# A home for whatever user the container runs as: decoded images and compiled loops are kept below it.
ENV HOME=/home/harness USER=harness
WORKDIR /work
USER 65534
ENTRYPOINT ["harness"]
CMD ["--help"]
