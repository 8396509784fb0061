"""What the builders need to know about a published network."""

import dataclasses
from typing import Callable


@dataclasses.dataclass(frozen=True)
class Family:
    """A published network, before its strides are changed.

    Args:
        make_network: Function without arguments. Returns the functional model on a square image
            of `striding.ANALYSIS_SIDE_PX`, with new weights and with a rescaling or padding as
            its first layer.
        scaling: Dict, the arguments of `InputScaling` that this network expects.
        taps: Dict from stride (4, 8, 16) to the name of the last layer at that stride.
    """
    make_network: Callable
    scaling: dict
    taps: dict
