"""Other packages of the family, as the sandbox uses them."""
