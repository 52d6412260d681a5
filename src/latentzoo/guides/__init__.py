"""Networks that judge pictures: what energies are made of."""
