package dev.jeton;

import dev.jeton.v1.AdminServiceGrpc;
import dev.jeton.v1.CreateApiKeyRequest;
import dev.jeton.v1.CreateApiKeyResponse;
import dev.jeton.v1.CreateClientRequest;
import dev.jeton.v1.CreateClientResponse;
import dev.jeton.v1.CreateIssuerRequest;
import dev.jeton.v1.CreateIssuerResponse;
import dev.jeton.v1.DeleteApiKeyRequest;
import dev.jeton.v1.DeleteApiKeyResponse;
import dev.jeton.v1.DeleteClientRequest;
import dev.jeton.v1.DeleteClientResponse;
import dev.jeton.v1.DeleteIssuerRequest;
import dev.jeton.v1.DeleteIssuerResponse;
import dev.jeton.v1.DeletePolicyRequest;
import dev.jeton.v1.DeletePolicyResponse;
import dev.jeton.v1.ExplainRequest;
import dev.jeton.v1.ExplainResponse;
import dev.jeton.v1.GetClientRequest;
import dev.jeton.v1.GetClientResponse;
import dev.jeton.v1.GetIssuerRequest;
import dev.jeton.v1.GetIssuerResponse;
import dev.jeton.v1.GetPolicyRequest;
import dev.jeton.v1.GetPolicyResponse;
import dev.jeton.v1.ListAuditEventsRequest;
import dev.jeton.v1.ListAuditEventsResponse;
import dev.jeton.v1.ListClientsRequest;
import dev.jeton.v1.ListClientsResponse;
import dev.jeton.v1.ListIssuersRequest;
import dev.jeton.v1.ListIssuersResponse;
import dev.jeton.v1.ListKeysRequest;
import dev.jeton.v1.ListKeysResponse;
import dev.jeton.v1.ListLocksRequest;
import dev.jeton.v1.ListLocksResponse;
import dev.jeton.v1.ListPoliciesRequest;
import dev.jeton.v1.ListPoliciesResponse;
import dev.jeton.v1.ListReplicasRequest;
import dev.jeton.v1.ListReplicasResponse;
import dev.jeton.v1.ListRevocationsRequest;
import dev.jeton.v1.ListRevocationsResponse;
import dev.jeton.v1.ListSessionsRequest;
import dev.jeton.v1.ListSessionsResponse;
import dev.jeton.v1.ListWatchersRequest;
import dev.jeton.v1.ListWatchersResponse;
import dev.jeton.v1.LockRequest;
import dev.jeton.v1.LockResponse;
import dev.jeton.v1.RevokeResponse;
import dev.jeton.v1.RotateKeyRequest;
import dev.jeton.v1.RotateKeyResponse;
import dev.jeton.v1.TestAssertionRequest;
import dev.jeton.v1.TestAssertionResponse;
import dev.jeton.v1.TokenServiceGrpc;
import dev.jeton.v1.UnlockRequest;
import dev.jeton.v1.UnlockResponse;
import dev.jeton.v1.UpdateClientRequest;
import dev.jeton.v1.UpdateClientResponse;
import dev.jeton.v1.UpdateIssuerRequest;
import dev.jeton.v1.UpdateIssuerResponse;
import dev.jeton.v1.UpdatePolicyRequest;
import dev.jeton.v1.UpdatePolicyResponse;

/**
 * The calls of AdminService. Those that change something are sent once, and never repeated. For a deadline of one's own:
 * {@link Client#call(io.grpc.MethodDescriptor, Object, java.time.Duration)}.
 */
public final class Admin {
    private final Client client;

    Admin(Client client) {
        this.client = client;
    }

    /**
     * Revokes, on the admin listener: wide targets too.
     *
     * @param what is revoked, and how
     * @return what happened
     */
    public RevokeResponse revoke(Revocation what) {
        var method = TokenServiceGrpc.getRevokeMethod();
        return client.calls()
                .make(client.adminGroup(), method, what.request(), MethodPolicy.of(method).timeoutNanos());
    }

    /**
     * Adds an API key to a client.
     *
     * @param request which client
     * @return the key, which is shown this once, and its facts
     */
    public CreatedApiKey createApiKey(CreateApiKeyRequest request) {
        CreateApiKeyResponse answer = client.call(AdminServiceGrpc.getCreateApiKeyMethod(), request);
        return new CreatedApiKey(Secret.of(answer.getSecret()), answer.getApiKey());
    }

    /**
     * Says what jeton knows of a token.
     *
     * @param token an access token or a refresh token
     * @return the answer
     */
    public ExplainResponse explain(Secret token) {
        return explain(ExplainRequest.newBuilder().setToken(token.reveal()));
    }

    /**
     * Says what jeton knows of a token.
     *
     * @param jti its id
     * @return the answer
     */
    public ExplainResponse explainJti(String jti) {
        return explain(ExplainRequest.newBuilder().setJti(jti));
    }

    /**
     * Says what jeton knows of a session.
     *
     * @param id its id
     * @return the answer
     */
    public ExplainResponse explainSession(String id) {
        return explain(ExplainRequest.newBuilder().setSessionId(id));
    }

    /**
     * Says what jeton knows of a token or a session.
     *
     * @param id a UUID of which nobody says what it is
     * @return the answer
     */
    public ExplainResponse explainId(String id) {
        return explain(ExplainRequest.newBuilder().setId(id));
    }

    /**
     * Says what jeton knows of a subject.
     *
     * @param name its exact name
     * @return the answer
     */
    public ExplainResponse explainSubject(String name) {
        return explain(ExplainRequest.newBuilder().setSubject(name));
    }

    private ExplainResponse explain(ExplainRequest.Builder question) {
        return client.call(AdminServiceGrpc.getExplainMethod(), question.build());
    }

    /**
     * Lists the revocations in force, newest first.
     *
     * @param request see the API definition
     * @return the answer
     */
    public ListRevocationsResponse listRevocations(ListRevocationsRequest request) {
        return client.call(AdminServiceGrpc.getListRevocationsMethod(), request);
    }

    /**
     * Lists live sessions of a subject or a client.
     *
     * @param request see the API definition
     * @return the answer
     */
    public ListSessionsResponse listSessions(ListSessionsRequest request) {
        return client.call(AdminServiceGrpc.getListSessionsMethod(), request);
    }

    /**
     * Lists the audit trail, newest first.
     *
     * @param request see the API definition
     * @return the answer
     */
    public ListAuditEventsResponse listAuditEvents(ListAuditEventsRequest request) {
        return client.call(AdminServiceGrpc.getListAuditEventsMethod(), request);
    }

    /**
     * Reads a policy.
     *
     * @param request see the API definition
     * @return the answer
     */
    public GetPolicyResponse getPolicy(GetPolicyRequest request) {
        return client.call(AdminServiceGrpc.getGetPolicyMethod(), request);
    }

    /**
     * Lists policies.
     *
     * @param request see the API definition
     * @return the answer
     */
    public ListPoliciesResponse listPolicies(ListPoliciesRequest request) {
        return client.call(AdminServiceGrpc.getListPoliciesMethod(), request);
    }

    /**
     * Writes a policy.
     *
     * @param request see the API definition
     * @return the answer
     */
    public UpdatePolicyResponse updatePolicy(UpdatePolicyRequest request) {
        return client.call(AdminServiceGrpc.getUpdatePolicyMethod(), request);
    }

    /**
     * Removes a policy.
     *
     * @param request see the API definition
     * @return the answer
     */
    public DeletePolicyResponse deletePolicy(DeletePolicyRequest request) {
        return client.call(AdminServiceGrpc.getDeletePolicyMethod(), request);
    }

    /**
     * Registers a client.
     *
     * @param request see the API definition
     * @return the answer
     */
    public CreateClientResponse createClient(CreateClientRequest request) {
        return client.call(AdminServiceGrpc.getCreateClientMethod(), request);
    }

    /**
     * Reads a client.
     *
     * @param request see the API definition
     * @return the answer
     */
    public GetClientResponse getClient(GetClientRequest request) {
        return client.call(AdminServiceGrpc.getGetClientMethod(), request);
    }

    /**
     * Lists clients.
     *
     * @param request see the API definition
     * @return the answer
     */
    public ListClientsResponse listClients(ListClientsRequest request) {
        return client.call(AdminServiceGrpc.getListClientsMethod(), request);
    }

    /**
     * Changes a client.
     *
     * @param request see the API definition
     * @return the answer
     */
    public UpdateClientResponse updateClient(UpdateClientRequest request) {
        return client.call(AdminServiceGrpc.getUpdateClientMethod(), request);
    }

    /**
     * Removes a client, and revokes what it obtained.
     *
     * @param request see the API definition
     * @return the answer
     */
    public DeleteClientResponse deleteClient(DeleteClientRequest request) {
        return client.call(AdminServiceGrpc.getDeleteClientMethod(), request);
    }

    /**
     * Removes an API key.
     *
     * @param request see the API definition
     * @return the answer
     */
    public DeleteApiKeyResponse deleteApiKey(DeleteApiKeyRequest request) {
        return client.call(AdminServiceGrpc.getDeleteApiKeyMethod(), request);
    }

    /**
     * Registers a trusted issuer. In effect on every replica when it returns.
     *
     * @param request see the API definition
     * @return the answer
     */
    public CreateIssuerResponse createIssuer(CreateIssuerRequest request) {
        return client.call(AdminServiceGrpc.getCreateIssuerMethod(), request);
    }

    /**
     * Reads a trusted issuer.
     *
     * @param request see the API definition
     * @return the answer
     */
    public GetIssuerResponse getIssuer(GetIssuerRequest request) {
        return client.call(AdminServiceGrpc.getGetIssuerMethod(), request);
    }

    /**
     * Lists trusted issuers.
     *
     * @param request see the API definition
     * @return the answer
     */
    public ListIssuersResponse listIssuers(ListIssuersRequest request) {
        return client.call(AdminServiceGrpc.getListIssuersMethod(), request);
    }

    /**
     * Changes the fields of a trusted issuer that the mask names. In effect on every replica when it returns.
     *
     * @param request see the API definition
     * @return the answer
     */
    public UpdateIssuerResponse updateIssuer(UpdateIssuerRequest request) {
        return client.call(AdminServiceGrpc.getUpdateIssuerMethod(), request);
    }

    /**
     * Removes a trusted issuer. What was obtained by its assertions lives on.
     *
     * @param request see the API definition
     * @return the answer
     */
    public DeleteIssuerResponse deleteIssuer(DeleteIssuerRequest request) {
        return client.call(AdminServiceGrpc.getDeleteIssuerMethod(), request);
    }

    /**
     * Judges an assertion, and says which rule it meets and why others do not. It obtains nothing.
     *
     * @param assertion the token of another issuer
     * @return the answer
     */
    public TestAssertionResponse testAssertion(Secret assertion) {
        TestAssertionRequest.Builder request = TestAssertionRequest.newBuilder().setAssertion(assertion.reveal());
        return client.call(AdminServiceGrpc.getTestAssertionMethod(), request.build());
    }

    /**
     * Lists signing keys.
     *
     * @param request see the API definition
     * @return the answer
     */
    public ListKeysResponse listKeys(ListKeysRequest request) {
        return client.call(AdminServiceGrpc.getListKeysMethod(), request);
    }

    /**
     * Publishes a new signing key, and schedules the switch to it.
     *
     * @param request see the API definition
     * @return the answer
     */
    public RotateKeyResponse rotateKey(RotateKeyRequest request) {
        return client.call(AdminServiceGrpc.getRotateKeyMethod(), request);
    }

    /**
     * Lists replicas.
     *
     * @param request see the API definition
     * @return the answer
     */
    public ListReplicasResponse listReplicas(ListReplicasRequest request) {
        return client.call(AdminServiceGrpc.getListReplicasMethod(), request);
    }

    /**
     * Lists watchers.
     *
     * @param request see the API definition
     * @return the answer
     */
    public ListWatchersResponse listWatchers(ListWatchersRequest request) {
        return client.call(AdminServiceGrpc.getListWatchersMethod(), request);
    }

    /**
     * Locks a subject or client for a time.
     *
     * @param request see the API definition
     * @return the answer
     */
    public LockResponse lock(LockRequest request) {
        return client.call(AdminServiceGrpc.getLockMethod(), request);
    }

    /**
     * Ends a lock at once.
     *
     * @param request see the API definition
     * @return the answer
     */
    public UnlockResponse unlock(UnlockRequest request) {
        return client.call(AdminServiceGrpc.getUnlockMethod(), request);
    }

    /**
     * Lists the locks that hold.
     *
     * @param request see the API definition
     * @return the answer
     */
    public ListLocksResponse listLocks(ListLocksRequest request) {
        return client.call(AdminServiceGrpc.getListLocksMethod(), request);
    }
}
