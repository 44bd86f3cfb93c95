"""Micro-batches of rows of about one length, for which there is little to pad.

verl 0.9.1 makes micro-batches of equal work by mixing long rows and short ones, which is as well where rows
are packed. On a CPU they are padded to the longest of their micro-batch, and padding is worked through like
everything else.
"""

from __future__ import annotations

from recipe.cpu.patching import Function


def group_alike(
    balance: Function, seqlen_list: list[int], k_partitions: int, equal_size: bool
) -> list[list[int]]:
    """Part rows into `k_partitions` groups of about equal sums, each of neighbours in the order of length.

    Groups of equal size, which is how verl parts rows among workers, stay balanced by sum alone.

    Args:
        balance: verl's function of this signature.
        seqlen_list: A number that grows with the row's length, for each row.

    Returns:
        The rows' indices by group, ascending; no group is empty.
    """
    if equal_size:
        balanced: list[list[int]] = balance(seqlen_list, k_partitions, equal_size)
        return balanced
    order = sorted(range(len(seqlen_list)), key=seqlen_list.__getitem__)
    share = sum(seqlen_list) / k_partitions
    groups: list[list[int]] = [[]]
    done = 0
    for position, row in enumerate(order):
        num_left, num_open = len(order) - position, k_partitions - len(groups)
        is_full = done + seqlen_list[row] / 2 > share * len(groups)
        if groups[-1] and num_open and (is_full or num_left == num_open):
            groups.append([])
        groups[-1].append(row)
        done += seqlen_list[row]
    return [sorted(group) for group in groups]
