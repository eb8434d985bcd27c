"""Many cases at once: over seeds, topologies, ways and sizes, on this machine or a Dask cluster."""
