"""Speed against the physical limit and against peers, as ratios of one run. `python -m bench.NAME` runs one."""
