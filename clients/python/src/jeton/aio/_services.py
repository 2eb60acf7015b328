"""The calls that take and give messages of the API, one method each."""

from __future__ import annotations

from typing import Any

from ..v1 import admin_service_pb2 as admin_pb
from ..v1 import discovery_service_pb2 as discovery_pb
from ..v1 import token_service_pb2 as token_pb


class Services:
    """Requests and responses are those of `jeton.v1`; see the comments of the definitions."""

    async def _ask(self, name: str, request: Any, timeout: float | None) -> Any:
        raise NotImplementedError

    async def explain(
        self, request: admin_pb.ExplainRequest, *, timeout: float | None = None
    ) -> admin_pb.ExplainResponse:
        return await self._ask("Explain", request, timeout)

    async def list_revocations(
        self, request: admin_pb.ListRevocationsRequest | None = None, *, timeout: float | None = None
    ) -> admin_pb.ListRevocationsResponse:
        return await self._ask("ListRevocations", request or admin_pb.ListRevocationsRequest(), timeout)

    async def list_sessions(
        self, request: admin_pb.ListSessionsRequest | None = None, *, timeout: float | None = None
    ) -> admin_pb.ListSessionsResponse:
        return await self._ask("ListSessions", request or admin_pb.ListSessionsRequest(), timeout)

    async def list_audit_events(
        self, request: admin_pb.ListAuditEventsRequest | None = None, *, timeout: float | None = None
    ) -> admin_pb.ListAuditEventsResponse:
        return await self._ask("ListAuditEvents", request or admin_pb.ListAuditEventsRequest(), timeout)

    async def lock(self, request: admin_pb.LockRequest, *, timeout: float | None = None) -> admin_pb.LockResponse:
        return await self._ask("Lock", request, timeout)

    async def unlock(self, request: admin_pb.UnlockRequest, *, timeout: float | None = None) -> admin_pb.UnlockResponse:
        return await self._ask("Unlock", request, timeout)

    async def list_locks(
        self, request: admin_pb.ListLocksRequest | None = None, *, timeout: float | None = None
    ) -> admin_pb.ListLocksResponse:
        return await self._ask("ListLocks", request or admin_pb.ListLocksRequest(), timeout)

    async def get_policy(
        self, request: admin_pb.GetPolicyRequest, *, timeout: float | None = None
    ) -> admin_pb.GetPolicyResponse:
        return await self._ask("GetPolicy", request, timeout)

    async def list_policies(
        self, request: admin_pb.ListPoliciesRequest | None = None, *, timeout: float | None = None
    ) -> admin_pb.ListPoliciesResponse:
        return await self._ask("ListPolicies", request or admin_pb.ListPoliciesRequest(), timeout)

    async def update_policy(
        self, request: admin_pb.UpdatePolicyRequest, *, timeout: float | None = None
    ) -> admin_pb.UpdatePolicyResponse:
        return await self._ask("UpdatePolicy", request, timeout)

    async def delete_policy(
        self, request: admin_pb.DeletePolicyRequest, *, timeout: float | None = None
    ) -> admin_pb.DeletePolicyResponse:
        return await self._ask("DeletePolicy", request, timeout)

    async def create_client(
        self, request: admin_pb.CreateClientRequest, *, timeout: float | None = None
    ) -> admin_pb.CreateClientResponse:
        return await self._ask("CreateClient", request, timeout)

    async def get_client(
        self, request: admin_pb.GetClientRequest, *, timeout: float | None = None
    ) -> admin_pb.GetClientResponse:
        return await self._ask("GetClient", request, timeout)

    async def list_clients(
        self, request: admin_pb.ListClientsRequest | None = None, *, timeout: float | None = None
    ) -> admin_pb.ListClientsResponse:
        return await self._ask("ListClients", request or admin_pb.ListClientsRequest(), timeout)

    async def update_client(
        self, request: admin_pb.UpdateClientRequest, *, timeout: float | None = None
    ) -> admin_pb.UpdateClientResponse:
        return await self._ask("UpdateClient", request, timeout)

    async def delete_client(
        self, request: admin_pb.DeleteClientRequest, *, timeout: float | None = None
    ) -> admin_pb.DeleteClientResponse:
        return await self._ask("DeleteClient", request, timeout)

    async def create_api_key(
        self, request: admin_pb.CreateApiKeyRequest, *, timeout: float | None = None
    ) -> admin_pb.CreateApiKeyResponse:
        return await self._ask("CreateApiKey", request, timeout)

    async def delete_api_key(
        self, request: admin_pb.DeleteApiKeyRequest, *, timeout: float | None = None
    ) -> admin_pb.DeleteApiKeyResponse:
        return await self._ask("DeleteApiKey", request, timeout)

    async def create_issuer(
        self, request: admin_pb.CreateIssuerRequest, *, timeout: float | None = None
    ) -> admin_pb.CreateIssuerResponse:
        return await self._ask("CreateIssuer", request, timeout)

    async def get_issuer(
        self, request: admin_pb.GetIssuerRequest, *, timeout: float | None = None
    ) -> admin_pb.GetIssuerResponse:
        return await self._ask("GetIssuer", request, timeout)

    async def list_issuers(
        self, request: admin_pb.ListIssuersRequest, *, timeout: float | None = None
    ) -> admin_pb.ListIssuersResponse:
        return await self._ask("ListIssuers", request, timeout)

    async def update_issuer(
        self, request: admin_pb.UpdateIssuerRequest, *, timeout: float | None = None
    ) -> admin_pb.UpdateIssuerResponse:
        return await self._ask("UpdateIssuer", request, timeout)

    async def delete_issuer(
        self, request: admin_pb.DeleteIssuerRequest, *, timeout: float | None = None
    ) -> admin_pb.DeleteIssuerResponse:
        return await self._ask("DeleteIssuer", request, timeout)

    async def test_assertion(
        self, request: admin_pb.TestAssertionRequest, *, timeout: float | None = None
    ) -> admin_pb.TestAssertionResponse:
        return await self._ask("TestAssertion", request, timeout)

    async def list_keys(
        self, request: admin_pb.ListKeysRequest | None = None, *, timeout: float | None = None
    ) -> admin_pb.ListKeysResponse:
        return await self._ask("ListKeys", request or admin_pb.ListKeysRequest(), timeout)

    async def rotate_key(
        self, request: admin_pb.RotateKeyRequest | None = None, *, timeout: float | None = None
    ) -> admin_pb.RotateKeyResponse:
        return await self._ask("RotateKey", request or admin_pb.RotateKeyRequest(), timeout)

    async def list_replicas(
        self, request: admin_pb.ListReplicasRequest | None = None, *, timeout: float | None = None
    ) -> admin_pb.ListReplicasResponse:
        return await self._ask("ListReplicas", request or admin_pb.ListReplicasRequest(), timeout)

    async def list_watchers(
        self, request: admin_pb.ListWatchersRequest | None = None, *, timeout: float | None = None
    ) -> admin_pb.ListWatchersResponse:
        return await self._ask("ListWatchers", request or admin_pb.ListWatchersRequest(), timeout)

    async def get_jwks(
        self, request: discovery_pb.GetJwksRequest | None = None, *, timeout: float | None = None
    ) -> discovery_pb.GetJwksResponse:
        return await self._ask("GetJwks", request or discovery_pb.GetJwksRequest(), timeout)

    async def get_server_info(
        self, request: discovery_pb.GetServerInfoRequest | None = None, *, timeout: float | None = None
    ) -> discovery_pb.GetServerInfoResponse:
        return await self._ask("GetServerInfo", request or discovery_pb.GetServerInfoRequest(), timeout)

    async def get_caller(
        self, request: token_pb.GetCallerRequest | None = None, *, timeout: float | None = None
    ) -> token_pb.GetCallerResponse:
        return await self._ask("GetCaller", request or token_pb.GetCallerRequest(), timeout)

    async def batch_validate(
        self, request: token_pb.BatchValidateRequest, *, timeout: float | None = None
    ) -> token_pb.BatchValidateResponse:
        return await self._ask("BatchValidate", request, timeout)
