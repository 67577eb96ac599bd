"""What is known about a container's agent endpoint from outside; serving one is not part of this version."""

from terok_executor.acp.endpoint import ACPEndpointStatus, acp_socket_is_live
from terok_executor.acp.roster import list_authenticated_agents

__all__ = ["ACPEndpointStatus", "acp_socket_is_live", "list_authenticated_agents"]
