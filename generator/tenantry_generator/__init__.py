"""The generator: answers Argo CD with the parameters of every tenant, and never loses one by accident."""
