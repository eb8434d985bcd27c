"""Our queues in arrays beside ns-3: the same scenario, the same answers, and what each takes for it."""
