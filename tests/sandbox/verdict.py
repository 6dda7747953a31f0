"""Whether the agent did its job, from what the API server and the asker saw."""


def verdict(frame):
    """(everything that went wrong, the summary's lines)"""
    wrong = []
    if frame.cordoned is None:
        wrong.append("the node was not cordoned")
    going = [row for row in frame.rows if not row.stays]
    told = [row for row in going if row.told is not None]
    wrong += [f"{row.name} ({row.label}) was never told to stop" for row in going if row.told is None]
    wrong += [f"{row.name} ({row.label}) was told to stop and should have stayed"
              for row in frame.rows if row.stays and row.told is not None]
    if frame.failed:
        wrong.append(f"{frame.failed} lookups failed")
    if not frame.answered:
        wrong.append("no lookup was answered")
    staying = [row for row in frame.rows if row.stays and row.told is None]
    return wrong, [
        f"node       {frame.node()}",
        f"pods       {len(told)} of {len(going)} told to stop"
        + (f", the last {max(row.told for row in told):.1f} s after the notice" if told else "")
        + f"; {sum(row.gone is not None for row in told)} gone; {len(staying)} stay",
        f"budgets    {sum(row.refusals for row in going)} refusals, "
        f"{sum(row.by == 'deletion' and row.refusals > 0 for row in told)} pods deleted past their budget",
        f"names      {frame.lookups()}",
    ]
