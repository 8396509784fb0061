"""What `metro-tf info` tells of a model."""

import textwrap

from metro_tf.tools import loading

# What the metadata repeat of a model's attributes, or what stands in a section of its own.
_SHOWN_BEFORE = (
    'model_name', 'model_version', 'joint_names', 'joint_edges', 'skeletons', 'card')
_KEY_WIDTH = 22
_LINE_WIDTH = 96


def run(arguments, load_model):
    """Describes a model.

    Args:
        arguments: Object with the attribute `model`, name or path of the model.
        load_model: See `loading.load`.

    Returns:
        Lines of text.

    Raises:
        ValueError: If the model cannot be loaded.
    """
    return describe(loading.load(arguments.model, load_model))


def describe(model):
    """Lines of text about a `loading.ExportedModel`: identity, card, joints and details."""
    names, edges = model.joints('')
    lines = [f'model      {model.identity["name"]}, version {model.identity["version"]}']
    card = model.metadata.get('card')
    if card:
        lines += ['card', *_nested(card, indent=4)]
    lines.append(f'joints     {len(names)}, with {len(edges)} bones: {" ".join(names)}')
    lines.append('skeletons  for --skeleton:')
    for skeleton in model.skeletons:
        lines.append(f'    {skeleton:<{_KEY_WIDTH}} {len(model.joints(skeleton)[0])} joints')
    details = {
        key: value for key, value in model.metadata.items() if key not in _SHOWN_BEFORE}
    if details:
        lines += ['details', *_nested(details, indent=4)]
    return '\n'.join(lines)


def _nested(values, indent):
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f'{"":{indent}}{key}', *_nested(value, indent + 4)]
        else:
            lines += _entry(key, str(_rounded(value)), indent)
    return lines


def _entry(key, text, indent):
    """Lines with a key and a text beside it; prose is broken between its words."""
    start = f'{"":{indent}}{key:<{_KEY_WIDTH}} '
    return textwrap.wrap(
        text, _LINE_WIDTH, initial_indent=start, subsequent_indent=' ' * len(start),
        break_long_words=False, break_on_hyphens=False) or [start.rstrip()]


def _rounded(value):
    if isinstance(value, list):
        return ' '.join(str(_rounded(item)) for item in value)
    return f'{value:.5g}' if isinstance(value, float) else value
