"""The Tenant API as a library: model, names, rendering, the Kubernetes client and the list-and-watch cache."""
