"""The base of every provider and router: a Dagster resource that stays out of the launchpad.

Belongs here: what Dagster is told about resources of any kind. Does not belong here: anything of a vendor.
"""

import dagster as dg
from dagster._config.pythonic_config.resource import ConfigurableResourceFactoryResourceDefinition


class _OptionalSettings(ConfigurableResourceFactoryResourceDefinition):
    """The definition whose settings a run config may leave out as a whole."""

    @property
    def config_field(self) -> dg.Field:
        """The settings, None by default: Dagster writes every default that is not None into the launchpad."""
        settings = self.config_schema.as_field()
        return dg.Field(dg.Noneable(settings.config_type), default_value=None, description=settings.description)


class Resource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A resource whose settings are the deployment's: a run config may override them, and need not list them.

    Otherwise the launchpad opens on every field of every provider, 60 to 130 lines, before what the run asks for. The
    webserver shows the settings under Deployment, Resources.
    """

    def get_resource_definition(self) -> ConfigurableResourceFactoryResourceDefinition:
        """Dagster's definition of this resource, always the same one."""
        definition = super().get_resource_definition()
        definition.__class__ = _OptionalSettings
        return definition
