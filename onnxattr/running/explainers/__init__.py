"""Exported explainers: what their files say of themselves, take and give, run by `Explainer`."""
