import dev.jeton.Client;
import dev.jeton.Token;
import dev.jeton.TokenSource;
import dev.jeton.Verdict;
import java.nio.file.Path;

class FirstToken {
    public static void main(String[] args) {
        String endpoint = args.length > 0 ? args[0] : "http://127.0.0.1:7070";
        Path key = Path.of(args.length > 1 ? args[1] : ".jeton/dev-admin.key");
        try (Client client = Client.builder(endpoint).apiKeyFile(key).build();
                TokenSource source = TokenSource.builder(client).subject("svc:billing").audiences("orders").build()) {
            Token token = source.get(); // at once, whenever a token is in hand
            Verdict verdict = client.validate(token.secret(), "orders");
            System.out.println(verdict.isActive() + " " + verdict.subject()); // true svc:billing
        }
    }
}
