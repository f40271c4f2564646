"""Google Cloud Vision through its own client: credentials, one request, and the errors of its answer.

Google's packages are imported inside the functions: they are an optional dependency, not needed by `harness list`.
"""

from __future__ import annotations

import datetime
import importlib.util
import io
import ipaddress
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from harness.errors import HarnessError, Skipped
from harness.plugins.attacks.vision.cache import Answer
from harness.plugins.attacks.vision.synonyms import Label
from harness.types import Bytes

API = "v1"
TIMEOUT = 60.0  # seconds for one request
_SCOPE = "https://www.googleapis.com/auth/cloud-vision"
_TRANSIENT = {4: "DEADLINE_EXCEEDED", 8: "RESOURCE_EXHAUSTED", 13: "INTERNAL", 14: "UNAVAILABLE"}  # google.rpc.Code


class Transient(Exception):  # noqa: N818  (a reason to try again, not an error)
    """The request brought no answer, and trying again later may help; the message says why."""


@dataclass(frozen=True)
class Reply:
    """The answers to one request.

    answers  by position in the request
    missing  why others are missing that may be requested again
    refused  why one is missing for which trying again does not help
    """

    answers: dict[int, Answer]
    missing: str = ""
    refused: str = ""


def check(endpoint: str) -> None:
    """Raise `Skipped` where the package or credentials are missing; makes no connection."""
    try:
        installed = importlib.util.find_spec("google.cloud.vision") is not None
    except ModuleNotFoundError:
        installed = False
    if not installed:
        raise Skipped('google_vision: no google-cloud-vision here; pip install "obfuscation-harness[google]"')
    if not _is_local(endpoint):
        _check_credentials()


def _check_credentials() -> None:
    """Look where Google's own client does, except at the metadata server, which takes seconds where there is none."""
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    fix = (
        "enable the Vision API in a Google Cloud project, then run `gcloud auth application-default login` or set "
        "GOOGLE_APPLICATION_CREDENTIALS to a service account's key file; `timm_labels` needs no service"
    )
    if named and not Path(named).is_file():
        raise Skipped(f"google_vision: GOOGLE_APPLICATION_CREDENTIALS names no file; {fix}")
    on_google_cloud = any(os.environ.get(name) for name in ("GCE_METADATA_HOST", "K_SERVICE"))
    if not (named or on_google_cloud or _gcloud_file().is_file()):
        raise Skipped(f"google_vision: no Google Cloud credentials; {fix}")


def _gcloud_file() -> Path:
    """The file that `gcloud auth application-default login` writes."""
    folder = os.environ.get("CLOUDSDK_CONFIG")
    if not folder and os.name == "nt":
        folder = str(Path(os.environ.get("APPDATA", "")) / "gcloud")
    return (Path(folder) if folder else Path.home() / ".config" / "gcloud") / "application_default_credentials.json"


def connect(endpoint: str) -> Any:
    """Google's client. To a server on this machine (an emulator) it connects in plain text and without credentials.

    Raises `Skipped` where the credentials cannot be used.
    """
    import google.auth
    from google.api_core.client_options import ClientOptions
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import vision

    if _is_local(endpoint):
        import grpc
        from google.cloud.vision_v1.services.image_annotator.transports import ImageAnnotatorGrpcTransport

        return vision.ImageAnnotatorClient(
            transport=ImageAnnotatorGrpcTransport(channel=grpc.insecure_channel(endpoint))
        )
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    except (GoogleAuthError, ValueError) as error:
        raise Skipped(f"google_vision: the Google Cloud credentials cannot be used: {_line(error)}") from error
    return vision.ImageAnnotatorClient(credentials=credentials, client_options=ClientOptions(api_endpoint=endpoint))


def _is_local(endpoint: str) -> bool:
    host = endpoint.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def ask(client: Any, images: Bytes, labels: int) -> Reply:
    """One request for `labels` labels of each image, (n, 3, H, W) uint8.

    Raises `Transient` for quota and transport; `HarnessError` where trying again does not help.
    """
    from google.api_core import exceptions
    from google.cloud import vision

    feature = vision.Feature(type_=vision.Feature.Type.LABEL_DETECTION, max_results=labels)
    requests = [
        vision.AnnotateImageRequest(image=vision.Image(content=_png(image)), features=[feature]) for image in images
    ]
    try:
        # retry=None: the client's own retries would not count against the budget
        response = client.batch_annotate_images(requests=requests, retry=None, timeout=TIMEOUT)
    except exceptions.GoogleAPICallError as error:
        code = error.grpc_status_code.value[0] if error.grpc_status_code else None
        if code in _TRANSIENT:
            raise Transient(f"{_TRANSIENT[code]}: {_line(error.message)}") from error
        raise HarnessError(f"google_vision: the service refused: {_line(error)}") from error
    return _read(response.responses, len(requests), labels)


def _read(responses: Sequence[Any], asked: int, labels: int) -> Reply:
    answers: dict[int, Answer] = {}
    missing = f"{len(responses)} answers to {asked} images" if len(responses) < asked else ""
    refused = ""
    for position, response in enumerate(responses[:asked]):
        code = response.error.code
        if code in _TRANSIENT:
            missing = f"{_TRANSIENT[code]}: {_line(response.error.message)}"
        elif code:
            refused = f"code {code}: {_line(response.error.message)}"
        else:
            answers[position] = _answer(response.label_annotations, labels)
    return Reply(answers, missing, refused)


def _answer(annotations: Sequence[Any], most: int) -> Answer:
    given = [Label(annotation.description.strip(), annotation.score) for annotation in annotations]
    valid = [label for label in given if label.text and math.isfinite(label.score) and 0 <= label.score <= 1]
    best = sorted(valid, key=lambda label: -label.score)[:most]
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return Answer(tuple(best), today, len(given) - len(valid))


def _png(image: Bytes) -> bytes:
    """(3, H, W) uint8 -> a PNG file, lossless."""
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).cpu().numpy()).save(file, "png")
    return file.getvalue()


def _line(error: object) -> str:
    """An error's text in one line of at most 300 characters."""
    return " ".join(str(error).split())[:300]
