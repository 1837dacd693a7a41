"""The vendors of the sandbox: routes, documents, limits and refusals of each."""
