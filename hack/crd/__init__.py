"""From the API's models to the CustomResourceDefinitions. `hack/crds.py` writes them to files."""

from hack.crd.definition import custom_resource_definition
from hack.crd.generator import SchemaError
from hack.crd.structural import structural

__all__ = ["SchemaError", "custom_resource_definition", "structural"]
