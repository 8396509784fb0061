"""The client: the estimator's methods, run by a model server."""

import inspect
import json
import math
import time
import urllib.parse

import numpy as np

from metro_tf import arguments as arguments_lib
from metro_tf.serving import attempts, inputs, people

_POLL_S = 0.5
_SUMMARIES = {
    'detect_poses': 'Finds people in one image and estimates their poses.',
    'detect_poses_batched': 'Finds people in images of one size and estimates their poses.',
    'estimate_poses': 'Estimates the poses of people in given boxes of one image.',
    'estimate_poses_batched': 'Estimates the poses of people in given boxes of several images.'}
_RETURNS = """Returns:
    {result}. `average_aug` must be True.

Raises:
    ValueError: If an argument does not fit, or the server refuses it.
    ServingError: If the server cannot be reached or does not answer in time."""


def _method(name):
    def method(self, *positional, **named):
        return self._call(name, positional, named)

    result = 'List with one `People` per image' if arguments_lib.is_batched(name) else '`People`'
    method.__name__ = name
    method.__doc__ = arguments_lib.documentation(
        name, _SUMMARIES[name], _RETURNS.format(result=result))
    signature = arguments_lib.python_signature(name)
    method.__signature__ = signature.replace(parameters=[
        inspect.Parameter('self', inspect.Parameter.POSITIONAL_OR_KEYWORD),
        *signature.parameters.values()])
    return method


class Client:
    """A model on a server of TensorFlow Serving, with the methods of `PoseEstimator`.

    `detect_poses`, `detect_poses_batched`, `estimate_poses` and `estimate_poses_batched` take the
    arguments of `PoseEstimator`; `average_aug` must be True. They give `People`. A call with no
    image gives an empty list and asks nobody.

    What may pass is tried again after waits that double: a refused or lost connection, a server
    that is not ready or has too much to do. Nothing lasts longer than `timeout_s`. May be used by
    several threads.

    Args:
        url: String. `http://host:8501` or `https://host` for REST, also with the path of a proxy;
            `grpc://host:8500` for gRPC, not encrypted. Images are sent as PNG by REST (with
            `estimate_*` as text, a number for each pixel and channel), as they are by gRPC.
        model: Name of the model on the server.
        version: Int, which version; None is the newest.
        timeout_s: Float, seconds after which a call fails, all its attempts together.
        retries: Int, how often a call is tried again.

    Raises:
        ValueError: If an argument does not fit, or a package for this kind of `url` is missing.
    """

    def __init__(self, url, model='default', version=None, timeout_s=30.0, retries=3):
        _check(model, version, retries)
        self.timeout_s = _positive(timeout_s)
        self._transport = _connect(url)
        self.url = url
        self.model = model
        self.version = version
        self.retries = retries
        # By skeleton; an answer without people does not always tell it.
        self._n_joints = {}

    detect_poses = _method('detect_poses')
    detect_poses_batched = _method('detect_poses_batched')
    estimate_poses = _method('estimate_poses')
    estimate_poses_batched = _method('estimate_poses_batched')

    def detect_poses_encoded(self, image_bytes, *, ignore_broken_images=False, **options):
        """Finds people in images as their files hold them and estimates their poses.

        Args:
            image_bytes: List of bytes, the content of JPEG, PNG, BMP or GIF files. Sizes may
                differ. The orientation that a photo's EXIF data tells is not heeded.
            ignore_broken_images: Whether a broken image has zero people. Otherwise it is refused.
            **options: The arguments of `detect_poses_batched` without `images`.

        Returns:
            List with one `People` per image.

        Raises:
            ValueError: If an argument does not fit, or the server refuses it; a broken image with
                its index.
            ServingError: If the server cannot be reached or does not answer in time.
        """
        return self._people(*inputs.of_files(image_bytes, ignore_broken_images, options))

    def joints(self, skeleton=''):
        """Names and edges of the model's joints, or of one of its joint conventions.

        Args:
            skeleton: Name of a joint convention; empty is all joints.

        Returns:
            Tuple of a tuple of names and a tuple of pairs of joint indices.

        Raises:
            ValueError: If the model has no such skeleton.
            ServingError: If the server cannot be reached or does not answer in time.
        """
        info = self._model_info(skeleton, self.timeout_s)
        return (
            tuple(map(str, info['joint_names'])),
            tuple((int(a), int(b)) for a, b in info['joint_edges'].reshape(-1, 2)))

    def metadata(self):
        """What the model tells of itself: a dict, see `export.save`. Errors are as of `joints`."""
        return json.loads(str(self._model_info('', self.timeout_s)['metadata']))

    def wait_until_ready(self, timeout_s=60.0):
        """Returns as soon as the model (in the client's version, if it has one) answers requests.

        Args:
            timeout_s: Float, seconds until this is given up.

        Raises:
            ServingError: If it is not ready by then, with what was heard last.
        """
        deadline = time.monotonic() + _positive(timeout_s)
        while True:
            state = self._state(deadline - time.monotonic())
            if state == 'AVAILABLE':
                return
            if deadline - time.monotonic() <= _POLL_S:
                raise attempts.ServingError(
                    f'{self._name} is not ready after {timeout_s:g} s. Last heard: {state}')
            time.sleep(_POLL_S)

    def close(self):
        """Closes the connections. Also done at the end of a `with` block."""
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def _name(self):
        version = '' if self.version is None else f', version {self.version}'
        return f'{self.url}: model {self.model!r}{version}'

    def _call(self, method_name, positional, named):
        result = self._people(*inputs.of_call(
            method_name, positional, named, self._transport.should_encode))
        return result if arguments_lib.is_batched(method_name) else result[0]

    def _people(self, signature_name, values, n_images):
        if n_images == 0:
            return []
        deadline = time.monotonic() + self.timeout_s
        skeleton = values['skeleton'].item()
        return self._predict(
            signature_name, values, self.timeout_s, lambda outputs: people.from_outputs(
                outputs, n_images, lambda: self._count_joints(skeleton, deadline)))

    def _count_joints(self, skeleton, deadline):
        if skeleton not in self._n_joints:
            info = self._model_info(skeleton, max(deadline - time.monotonic(), 0))
            self._n_joints[skeleton] = len(info['joint_names'])
        return self._n_joints[skeleton]

    def _model_info(self, skeleton, timeout_s):
        """Outputs of the signature `model_info`."""
        if not isinstance(skeleton, str):
            raise ValueError(f'`skeleton` must be a string. Received: skeleton={skeleton!r}')
        return self._predict(
            'model_info', {'skeleton': np.asarray(skeleton)}, timeout_s, _checked_info)

    def _predict(self, signature_name, values, timeout_s, decode):
        """Runs a signature; an answer that `decode` cannot make sense of is a failed attempt."""
        return attempts.run(
            lambda left_s: decode(self._transport.predict(
                signature_name, values, self.model, self.version, left_s)),
            f'{self._name}: signature {signature_name!r}', timeout_s, self.retries)

    def _state(self, timeout_s):
        """`'AVAILABLE'`, or what is known instead."""
        try:
            states = self._transport.model_states(self.model, self.version, timeout_s)
        except (ValueError, attempts.PassingFailure, attempts.FinalFailure) as error:
            return str(error)
        if 'AVAILABLE' in states.values():
            return 'AVAILABLE'
        return ', '.join(f'version {version}: {state}' for version, state in states.items())


def _checked_info(outputs):
    missing = {'joint_names', 'joint_edges', 'metadata'} - set(outputs)
    if missing:
        raise attempts.FinalFailure(f'the answer lacks {", ".join(sorted(missing))}')
    return outputs


def _connect(url):
    """Transport for an address."""
    parts = _url_parts(url)
    is_grpc = parts is not None and parts.scheme == 'grpc' and not parts.path.strip('/')
    if not is_grpc and (parts is None or parts.scheme not in ('http', 'https')):
        raise ValueError(
            '`url` must be like http://host:8501, https://host or grpc://host:8500. '
            f'Received: url={url!r}')
    try:
        if is_grpc:
            from metro_tf.serving import grpc_transport
            return grpc_transport.GrpcTransport(parts.netloc)
        from metro_tf.serving import rest_transport
        return rest_transport.RestTransport(url)
    except ImportError as error:
        raise ValueError(
            f'{url} needs a package that is not installed: `pip install "metro-tf[serving]"` '
            f'({error}).') from error


def _url_parts(url):
    """Parts of an address, or None if it is none."""
    try:
        parts = urllib.parse.urlsplit(url if isinstance(url, str) else '')
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:  # of a port that is no number, for example
        return None


def _check(model, version, retries):
    if not isinstance(model, str) or not model or set(model) & set('/:'):
        raise ValueError(
            f'`model` must be the name of a model on the server. Received: model={model!r}')
    if version is not None and not _is_count(version):
        raise ValueError(
            f'`version` must be a whole number or None. Received: version={version!r}')
    if not _is_count(retries):
        raise ValueError(f'`retries` must be a whole number from 0. Received: retries={retries!r}')


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _positive(seconds):
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not 0 < seconds < math.inf:
        raise ValueError(
            f'`timeout_s` must be a positive number. Received: timeout_s={seconds!r}')
    return seconds
