"""Why a model errs, which cells sit together, and what a co-culture is made of."""
