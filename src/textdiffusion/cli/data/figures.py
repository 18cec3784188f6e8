"""The figures of a folder of arrays, for people."""

from rich.table import Table

from ...data.prepared import PreparedFolder

COLUMNS = ("read", "kept", "left out", "tokens", "of text", "tokens each", "of text each")


def arrays_table(folder: PreparedFolder) -> Table:
    """One line per split: its documents and tokens."""
    table = Table(box=None, pad_edge=False)
    table.add_column("split")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for name, about in folder.metadata.arrays.items():
        counts = about.counts
        whole = (
            counts.documents_read,
            counts.documents_kept,
            counts.documents_left_out,
            counts.tokens,
            counts.text_tokens,
        )
        shares = (f"{average:,.1f}" for average in about.averages.values())
        table.add_row(name, *(f"{count:,}" for count in whole), *shares)
    return table
