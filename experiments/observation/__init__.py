"""Looks at what passes outside and at what processes hold, with tools that are not ours."""
