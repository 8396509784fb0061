"""Scores as tables and curves."""

import io

_PANELS = (
    ('mpjpe_mm_inside', 'relative, joints inside the crop'),
    ('mpjpe_mm_outside', 'relative, joints outside'),
    ('absolute_mpjpe_mm_inside', 'absolute, joints inside the crop'),
    ('absolute_mpjpe_mm_outside', 'absolute, joints outside'))
_DPI = 120


def markdown_table(header, rows):
    """A table in Markdown.

    Args:
        header: Sequence of texts.
        rows: Sequence of sequences: texts as they are, numbers with one decimal, None as a dash.

    Returns:
        Text of lines of equal length, without a line end.
    """
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |'
        for row in cells]
    return '\n'.join([lines[0], '|-' + '-|-'.join('-' * width for width in widths) + '-|',
                      *lines[1:]])


def truncation_table(curves):
    """Errors of all models at all shares, as a Markdown table.

    Args:
        curves: Dict from the name of a model to rows of `truncation.evaluate`.
    """
    header = ['model', 'cut off', 'joints outside', *(title for _, title in _PANELS)]
    rows = [
        [name, f'{row["share"]:.0%}', str(row['n_joints_outside']),
         *(row.get(score) for score, _ in _PANELS)]
        for name, model_rows in curves.items() for row in model_rows]
    return markdown_table(header, rows)


def check_plots_available():
    """Checks that curves can be drawn.

    Raises:
        ValueError: If Matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError(
            'Curves need Matplotlib: `pip install "metro-tf[viz]"`, or leave out `--plot`.'
        ) from None


def truncation_plot(curves):
    """Draws one curve per model: error against the share that is cut off.

    Args:
        curves: Dict from the name of a model to rows of `truncation.evaluate`.

    Returns:
        bytes, a PNG file. Models without absolute poses are missing in the lower half.

    Raises:
        ValueError: If Matplotlib is not installed.
    """
    check_plots_available()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(10, 8), dpi=_DPI, facecolor='white', layout='constrained')
    for axes, (score, title) in zip(figure.subplots(2, 2, sharex=True).flat, _PANELS):
        for i_model, (name, rows) in enumerate(curves.items()):
            points = [
                (100 * row['share'], row[score]) for row in rows if row.get(score) is not None]
            if points:
                axes.plot(*zip(*points), marker='o', color=f'C{i_model % 10}', label=name)
        axes.set(title=title, xlabel='joints cut off, %', ylabel='mean joint error, mm')
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center')
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()


def _cell(value):
    if value is None:
        return '-'
    return value if isinstance(value, str) else f'{value:.1f}'
