"""Judge Kubernetes' manifests by published schemas."""

from importlib.resources import files
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

VERSION = "1.31"
"""Of Kubernetes."""
DASK = "kubernetes.dask.org/v1"


def check_manifest(manifest: dict[str, Any]) -> None:
    """Raise if a manifest is not valid, or has keys that nobody knows."""
    if manifest["apiVersion"] != DASK:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
        return
    check_dask(manifest)
    spec = manifest["spec"]
    for part in ("scheduler", "worker"):  # the operator refers to Kubernetes' own schemas
        check_pod(spec[part]["spec"])
    check_manifest(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "scheduler"},
            "spec": spec["scheduler"]["service"],
        }
    )


def check_pod(spec: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
    kubernetes_validate.validate(pod, VERSION, strict=True)


def check_dask(manifest: dict[str, Any]) -> None:
    """By the schema that comes with dask-kubernetes, made strict."""
    folder = files("dask_kubernetes") / "operator" / "customresources"
    definitions = yaml.safe_load((folder / "templates.yaml").read_text())["definitions"]
    schema = resolved(definitions["dask.k8s.api.v1.DaskCluster"], definitions)
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"required": ["name"]}}
    jsonschema.validate(manifest, schema)


def resolved(node: Any, definitions: dict[str, Any]) -> Any:
    """A schema without references into Kubernetes' own, whose parts are checked apart."""
    if isinstance(node, list):
        return [resolved(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return (
            resolved(definitions[name], definitions) if name in definitions else {"type": "object"}
        )
    found = {key: resolved(value, definitions) for key, value in node.items()}
    if "properties" in found:
        found["additionalProperties"] = False
    return found
