"""Classical densities that are fitted in closed form or by EM, to put beside the others."""
