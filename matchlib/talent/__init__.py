"""Role-aware talent search: signals of documents, a mixture of experts, logs of clicks."""
