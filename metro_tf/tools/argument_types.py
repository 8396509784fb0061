"""Arguments of the command line: their types, from the text to its meaning, and shared ones."""

import argparse
import math


def box(text):
    """A box: list of left, top, width and height."""
    try:
        sides = [float(number) for number in text.split(',')]
    except ValueError:
        sides = []
    if len(sides) != 4 or not all(map(math.isfinite, sides)) or min(sides[2:]) <= 0:
        raise argparse.ArgumentTypeError(
            'must be four numbers with commas between, width and height above 0. '
            f'Received: {text!r}')
    return sides


def names(text):
    """A list of names, none of them empty."""
    found = [name.strip() for name in text.split(',')]
    if not all(found):
        raise argparse.ArgumentTypeError(
            f'must be names with commas between. Received: {text!r}')
    return found


def named_path(text, form='NAME=FILE'):
    """A pair of a name and a path.

    Args:
        text: The argument.
        form: What the error says that it must be.
    """
    name, _, path = text.partition('=')
    if not name or not path:
        raise argparse.ArgumentTypeError(f'must be {form}. Received: {text}')
    return name, path


def number_between(low, high):
    """Type of a number strictly between two others."""
    def parse(text):
        try:
            number = float(text)
        except ValueError:
            number = float('nan')
        if not low < number < high:
            raise argparse.ArgumentTypeError(
                f'must be a number between {low} and {high}. Received: {text!r}')
        return number
    return parse


def positive_int(text):
    """A whole number from 1."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f'must be a whole number from 1. Received: {text!r}')
    return int(text)


def add_command(commands, name, *, help, description, epilog):
    """Adds a command to the subparsers of a command line, with its texts as they are written.

    Args:
        commands: What `add_subparsers` gave.
        name: Of the command.
        help: One line for the list of commands.
        description: Text above the arguments.
        epilog: Text below them.

    Returns:
        The parser of the command.
    """
    return commands.add_parser(
        name, help=help, description=description, epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter)


def add_model(parser):
    """Adds the optional argument `model`, by position."""
    parser.add_argument(
        'model', nargs='?', default='default', metavar='MODEL',
        help='name or path of a model (default: %(default)s)')


def add_fov(parser):
    """Adds the argument `--fov`, a field of view in degrees."""
    parser.add_argument(
        '--fov', default=55.0, metavar='DEG', type=number_between(0, 180),
        help='field of view along the longer side of the photo, degrees (default: %(default)g)')
