"""One file per header: octets to a value that cannot be wrong, and back."""
