"""Pages and pictures made of runs' records and summaries alone."""
