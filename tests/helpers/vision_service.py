"""A server on this machine that speaks Google Vision's protocol, knows three kinds of stripes and fails on demand."""

from __future__ import annotations

import io
from concurrent import futures

import numpy as np
from PIL import Image

NAMES = {"across": ["horizontal stripes"], "down": ["vertical stripes"], "slanted": ["diagonal_stripes"]}
SAID = ("Horizontal Stripe", "vertical stripes", "Diagonal stripes")


def read(image):
    """Which way the stripes run: the only thing that this service can see. (H, W, 3) uint8 -> 0, 1 or 2."""
    grey = image.astype(float).mean(2)
    vertical, horizontal = (np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1))
    ratio = vertical / (vertical + horizontal)
    return 0 if ratio > 0.62 else 1 if ratio < 0.38 else 2


class Service:
    """Speaks Google Vision's protocol on a port of this machine.

    faults  what to do to the requests to come, one each; afterwards it answers as it should
    asked   (images, label limit) of every request, as they came
    """

    def __init__(self):
        import grpc
        from google.cloud import vision

        self.grpc, self.vision = grpc, vision
        self.faults, self.asked = [], []
        handler = grpc.unary_unary_rpc_method_handler(
            self.answer,
            request_deserializer=vision.BatchAnnotateImagesRequest.deserialize,
            response_serializer=vision.BatchAnnotateImagesResponse.serialize,
        )
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        name = "google.cloud.vision.v1.ImageAnnotator"
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {"BatchAnnotateImages": handler}),)
        )
        self.endpoint = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def answer(self, request, context):
        pictures = [np.asarray(Image.open(io.BytesIO(one.image.content))) for one in request.requests]
        features = {(feature.type_.name, feature.max_results) for one in request.requests for feature in one.features}
        self.asked.append((pictures, features))
        responses = [self.labelled((SAID[read(picture)], 0.9), ("Pattern", 0.8)) for picture in pictures]
        if self.faults:
            responses = self.faults.pop(0)(context, responses)
        return self.vision.BatchAnnotateImagesResponse(responses=responses)

    def labelled(self, *labels):
        found = [self.vision.EntityAnnotation(description=text, score=score) for text, score in labels]
        return self.vision.AnnotateImageResponse(label_annotations=found)

    def failed(self, code, message="planted"):
        return self.vision.AnnotateImageResponse(error={"code": code, "message": message})

    def abort(self, code):
        return lambda context, responses: context.abort(getattr(self.grpc.StatusCode, code), f"planted {code}")

    @property
    def images(self):
        return sum(len(pictures) for pictures, _ in self.asked)
