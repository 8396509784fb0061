"""From an export's crop network to a TFLite file."""

import tensorflow as tf

from metro_tf.export import networks


def convert(name_or_path):
    """Converts the crop network of an export to TFLite.

    The model has one signature, `serving_default`, with the inputs `image` float32 `[n, S, S, 3]`
    in [0, 1] and `intrinsic_matrix` float32 `[n, 3, 3]`, px, and the outputs `poses` `[n, J, 3]`,
    mm, crop camera frame, and, of a model that tells it, `uncertainty` `[n, J]`, mm. n is 1 until
    the interpreter is told otherwise, as its signature runner does by itself. Only operations of
    TFLite itself are used.

    Args:
        name_or_path: See `saved_model.load`.

    Returns:
        Bytes of the TFLite model.

    Raises:
        ValueError: If the export cannot be converted.
    """
    module = tf.Module()
    module.network = networks.load(name_or_path).crop_model
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.network.get_concrete_function()], module)
    try:
        return converter.convert()
    except Exception as error:  # the converter's own class of errors has no public name
        raise ValueError(
            '`name_or_path` must be an export whose crop network has only operations that TFLite '
            f'knows. Received: {name_or_path}') from error
