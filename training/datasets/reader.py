"""What the readers of published data sets share: items to convert, and reports of what is wrong.

A reader lists its items from small files only, without opening videos or photos: an item is what
becomes one record file, such as the video of one camera or a few hundred photos. `examples` then
reads one item, and holds one frame at a time in memory. Readers are frozen dataclasses of paths and
settings, so that every process of a conversion can have its own.
"""

import dataclasses
import pathlib

from PIL import Image
import cv2
import numpy as np


@dataclasses.dataclass(frozen=True)
class Item:
    """A part of a data set that is read in one go.

    Args:
        name: Text, distinct within the data set, e.g. 'S1/Directions 1.54138969'.
        n_frames: Number of frames or photos that will be looked at, for the progress bar.
        content: What the reader needs to find it, of picklable types.
    """
    name: str
    n_frames: int
    content: object = None


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something that is missing, damaged or left out.

    Args:
        path: Path of the file.
        item: Where in it, e.g. 'frame 17'; '' stands for the whole file.
        text: What is wrong, e.g. 'missing', and what is done about it.
        is_expected: Whether it is so in every copy of the data set, and nothing is wrong with
            this one.
    """
    path: str
    item: str
    text: str
    is_expected: bool = False

    def __str__(self):
        return ': '.join(part for part in (str(self.path), self.item, self.text) if part)


class DatasetReader:
    """Base of the readers. Subclasses are frozen dataclasses whose first field is `source_dir`.

    Every problem goes to the function `report`, which takes a `Problem`; nothing is left out
    silently. What makes all of an item unusable is reported too, and gives no examples.
    """

    # Name on the command line, and `skeleton.CONVENTIONS` of the joints that it delivers.
    NAME = ''
    CONVENTION = ''

    def items(self, report):
        """Tuple of the `Item`s, in a fixed order.

        Args:
            report: Function that takes a `Problem`, here about files that are not there.

        Raises:
            ValueError: If `source_dir` does not hold the data set at all.
        """
        raise NotImplementedError

    def examples(self, item, report):
        """Iterator over the `Example`s of an item, in a fixed order.

        Args:
            item: One of `items`.
            report: Function that takes a `Problem`.
        """
        raise NotImplementedError

    def expected_counts(self):
        """Dict from the name of something countable to its known total, e.g. {'images': 2000}.

        `convert` compares the keys 'items' and 'examples' with what it finds, and prints others.
        """
        return {}


def existing_dir(source_dir, wanted):
    """Path of the folder of a data set.

    Args:
        source_dir: What the user gave.
        wanted: Sequence of relative paths; at least one must exist.

    Raises:
        ValueError: If none does.
    """
    folder = pathlib.Path(source_dir)
    if not any((folder / path).exists() for path in wanted):
        raise ValueError(
            f'`source_dir` must be the folder that holds {" or ".join(map(str, wanted))}. '
            f'Received: source_dir={source_dir}')
    return folder


def read_photo(path, report):
    """RGB photo uint8 `[height, width, 3]` as it is stored, or None after a report."""
    if not pathlib.Path(path).is_file():
        report(Problem(str(path), '', 'missing'))
        return None
    try:
        # Unlike OpenCV, Pillow tells when a file is cut off.
        with Image.open(path) as image:
            return np.array(image.convert('RGB'))
    except Exception as error:  # decoders answer damaged data with nearly any type of error
        report(Problem(str(path), '', f'damaged, or no photo: {error}'))
        return None


def video_frames(path, indices, report):
    """Frames of a video, one at a time.

    All frames up to the last wanted one are decoded in order, since seeking is not exact in many
    formats.

    Args:
        path: Path of the video.
        indices: Rising sequence of frame numbers, from 0.
        report: Function that takes a `Problem`, called once if the video is missing, damaged or
            too short.

    Yields:
        Pairs of a frame number and an RGB frame, uint8 `[height, width, 3]`.
    """
    if not pathlib.Path(path).is_file():
        report(Problem(str(path), '', 'missing'))
        return
    capture = cv2.VideoCapture(str(path))
    try:
        i_frame = -1
        for i_wanted in indices:
            while i_frame < i_wanted:
                i_frame += 1
                if not capture.grab():
                    report(Problem(
                        str(path), f'frame {i_frame}',
                        f'the video ends before frame {i_wanted}; the rest is left out'))
                    return
            is_decoded, frame = capture.retrieve()
            if is_decoded:
                yield i_wanted, np.ascontiguousarray(frame[..., ::-1])
            else:
                report(Problem(str(path), f'frame {i_wanted}', 'damaged, left out'))
    finally:
        capture.release()


def video_length(path):
    """Number of frames that a video's header tells, 0 if the video is missing or damaged."""
    capture = cv2.VideoCapture(str(path))
    try:
        return max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
    finally:
        capture.release()


def moved_frames(coords, min_movement_mm, first=0):
    """Frames in which something moved since the last one that was kept.

    Source: the sampling of MeTRAbs and MargiPose (reference, "adaptive motion").

    Args:
        coords: Float array `[frames, joints, 3]`, mm.
        min_movement_mm: A frame is kept if a joint is at least this far from where it was in the
            frame kept before.
        first: The first frame that is looked at, which is kept.

    Returns:
        List of frame numbers.
    """
    kept = list(range(first, min(first + 1, len(coords))))
    for i_frame in range(first + 1, len(coords)):
        movement = np.linalg.norm(coords[i_frame] - coords[kept[-1]], axis=-1)
        if np.nanmax(movement) >= min_movement_mm:
            kept.append(i_frame)
    return kept


def frames_text(numbers):
    """Text for the `item` of a `Problem`: [3, 7, 8, 9] gives 'frames 3, 7-9'.

    Args:
        numbers: Rising sequence of frame numbers, not empty.
    """
    runs = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    parts = [str(first) if first == last else f'{first}-{last}' for first, last in runs]
    return f'frame{"s" * (len(numbers) > 1)} {", ".join(parts)}'


def report_frames(path, numbers, text, report, is_expected=False):
    """Reports frames, if there are any.

    Args:
        path: Path of what they are in.
        numbers: Rising sequence of frame numbers.
        text: What is wrong with them, and what is done about it.
        report: Function that takes a `Problem`.
        is_expected: See `Problem`.
    """
    if len(numbers):
        report(Problem(str(path), frames_text(numbers), text, is_expected))


def check_step(step):
    """Checks that every so many-th frame can be taken.

    Raises:
        ValueError: If `step` is below 1.
    """
    if step < 1:
        raise ValueError(f'`step` must be at least 1. Received: step={step}')


def check_min_movement(min_movement_mm):
    """Checks the distance of `moved_frames`.

    Raises:
        ValueError: If it is negative.
    """
    if min_movement_mm < 0:
        raise ValueError(
            '`min_movement_mm` must not be negative. '
            f'Received: min_movement_mm={min_movement_mm}')
