"""Many judgements as one job.

`running` conducts it; `record` is what a later harness takes it up by, `packing` what goes up, `parts` what comes back,
`cost` what it costs.
"""
