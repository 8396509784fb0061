"""What the builders need to know about a published network."""

import dataclasses
from typing import Callable, Optional


@dataclasses.dataclass(frozen=True)
class Family:
    """A published network, before its strides are changed.

    Args:
        make_network: Function without arguments. Returns the functional model on a square image
            of `striding.ANALYSIS_SIDE_PX`, with new weights and with a rescaling or padding as
            its first layer.
        scaling: Dict, the arguments of `InputScaling` that this network expects.
        taps: Dict from stride (4, 8, 16) to the name of the last layer at that stride.
        first_padding: Padding (before, after) of the first convolution, if it was trained with
            another one than half its kernel on both sides. With (0, 1) instead of (1, 1), every
            cell sees the pixel to the lower right of its own.
    """
    make_network: Callable
    scaling: dict
    taps: dict
    first_padding: Optional[tuple] = None
