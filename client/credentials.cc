#include <algorithm>
#include <string>
#include <utility>

#include "client/input.h"
#include "client/private_file.h"
#include "client/session.h"
#include "oauthvault/v1/credentials.pb.h"

namespace oauthvault::client {
namespace {

struct Put {
  v1::StoreRequest request;
  std::string data_file;
  std::string app_secret_file;
};

Outcome<void> Store(Session& run, Put& put) {
  if (put.request.app_key().empty() != put.app_secret_file.empty()) {
    return Refuse(Code::kInvalid, "an OAuth client of their own has both --app-key and "
                                  "--app-secret-file, or neither");
  }
  if (put.data_file == "-" && put.app_secret_file == "-") {
    return Refuse(Code::kInvalid, "standard input can be one of --data-file and --app-secret-file, "
                                  "not both");
  }
  auto data = ReadData(put.data_file);
  if (!data) return Refuse(std::move(data));
  crypto::SecretBytes app_secret;
  if (!put.app_secret_file.empty()) {
    auto read = ReadSecretLine(put.app_secret_file,
                               {"app secret", "--app-secret-file", kMaxSecretLineSize});
    if (!read) return Refuse(std::move(read));
    app_secret = *std::move(read);
  }
  data->Expose([&](std::span<const std::uint8_t> bytes) {
    put.request.set_data(bytes.data(), bytes.size());
  });
  app_secret.Expose([&](std::span<const std::uint8_t> bytes) {
    put.request.set_app_secret(bytes.data(), bytes.size());
  });
  return run.Show(put.request);
}

struct Reveal {
  CredentialsNames names;
  std::string field = "json";
  std::string out;
};

Outcome<void> Write(const crypto::SecretBytes& bytes, const std::string& out) {
  return bytes.Expose([&](std::span<const std::uint8_t> secret) {
    return out.empty() ? WriteOut(secret) : WritePrivateFile(out, secret, Existing::kReplace);
  });
}

Outcome<void> RevealOne(Vault& vault, const Reveal& given) {
  auto revealed = vault.Reveal(
      {given.names.project, given.names.component, given.names.ids.front()});
  if (!revealed) return Refuse(std::move(revealed));
  return Write(given.field == "data" ? std::move(revealed->data).Take()
                                     : RevealedAsJson(*revealed),
               given.out);
}

/// What is not there is told by its own line and by the exit code; the others are written.
Outcome<void> RevealSeveral(Vault& vault, const Reveal& given) {
  auto items = vault.RevealMany(given.names);
  if (!items) return Refuse(std::move(items));
  auto written = Write(ItemsAsJsonLines(*items), given.out);
  if (!written) return written;
  const auto missing = std::ranges::count_if(
      *items, [](const RevealedItem& item) { return !item.code.empty(); });
  if (missing == 0) return {};
  const bool damaged = std::ranges::any_of(
      *items, [](const RevealedItem& item) { return item.code == NameOf(Code::kCorrupt); });
  return Refuse(damaged ? Code::kCorrupt : Code::kNotFound,
                std::to_string(missing) + " of " + std::to_string(items->size()) +
                    " credentials are not there or damaged, as their lines say");
}

Outcome<void> RevealTo(Session& run, const Reveal& given) {
  if (given.field == "data" && given.names.ids.size() > 1) {
    return Refuse(Code::kInvalid, "--field data is for one ID: where the data of one ends and that "
                                  "of the next begins, nobody could tell");
  }
  auto vault = run.Reach();
  if (!vault) return Refuse(std::move(vault));
  return given.names.ids.size() == 1 ? RevealOne(**vault, given) : RevealSeveral(**vault, given);
}

template <class Request>
void AddName(CLI::App& verb, Request& request) {
  verb.add_option("ID", *request.mutable_id(), "The oauth id")->required();
  AddPair(verb, request);
}

Outcome<void> ListVersions(Session& run, v1::ListVersionsRequest& request) {
  auto answer = run.Call(request);
  if (!answer) return Refuse(std::move(answer));
  std::vector<nlohmann::ordered_json> rows;
  AppendRows(*answer, rows);
  return WriteOut(RenderList(
      rows, {"version", "created", "creator", "authorized_for", "data_size_bytes", "damaged"},
      run.style));
}

void AddVersionVerbs(CLI::App& noun, Session& session) {
  {
    const auto request = NewRequest<v1::ListVersionsRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"versions", "The present version and the former ones that are kept, newest first",
         "oauthvault credentials versions main --project 123 --component acme.ex-drive"},
        [request](Session& run) { return ListVersions(run, *request); });
    AddName(verb, *request);
  }
  {
    const auto request = NewRequest<v1::RollBackRequest>();
    CLI::App& verb = AddVerb(noun, session,
                             {"rollback", "Make a former version's content the present one",
                              "oauthvault credentials rollback main --to 3 --project 123 "
                              "--component acme.ex-drive"},
                             [request](Session& run) { return run.Show(*request); });
    AddName(verb, *request);
    verb.add_option_function<std::uint64_t>(
            "--to", [request](std::uint64_t version) { request->set_version(version); },
            "The former version; what comes of it is a new one")
        ->required()
        ->check(CLI::PositiveNumber);
  }
  {
    const auto request = NewRequest<v1::PruneRequest>();
    CLI::App& verb = AddVerb(noun, session,
                             {"prune", "Remove former versions, the oldest first",
                              "oauthvault credentials prune main --keep 2 --project 123 "
                              "--component acme.ex-drive"},
                             [request](Session& run) { return run.Show(*request); });
    AddName(verb, *request);
    verb.add_option_function<std::uint32_t>(
        "--keep", [request](std::uint32_t keep) { request->set_keep(keep); },
        "How many former versions stay; 0 when not given");
  }
}

}  // namespace

void AddCredentialsVerbs(CLI::App& app, Session& session) {
  CLI::App& noun = AddNoun(app, "credentials", "Credentials: stored authorizations");
  {
    const auto put = std::make_shared<Put>();
    CLI::App& verb = AddVerb(noun, session,
                             {"put", "Store credentials, or replace them",
                              "oauthvault credentials put main --project 123 --component "
                              "acme.ex-drive --data-file token.json --authorized-for Myself"},
                             [put](Session& run) { return Store(run, *put); });
    AddName(verb, put->request);
    verb.add_option("--data-file", put->data_file,
                    "The provider's response, at most 64 KiB: a file, or - for standard input; a "
                    "terminal is asked, for less than 4 KiB");
    verb.add_option("--authorized-for", *put->request.mutable_authorized_for(),
                    "Whose account they open, for people");
    verb.add_option("--description", *put->request.mutable_creator_description(),
                    "Who brings them, for people");
    verb.add_option("--app-key", *put->request.mutable_app_key(),
                    "Their own OAuth client, if not the component's");
    verb.add_option("--app-secret-file", put->app_secret_file,
                    "Its secret: a file, or - for standard input");
    verb.add_flag_function(
        "--new", [put](std::int64_t) { put->request.set_must_be_new(true); },
        "Refuse when the id is taken");
  }
  {
    const auto request = NewRequest<v1::ListRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"list", "The credentials of a project and component, without secrets",
         "oauthvault credentials list --project 123 --component acme.ex-drive"},
        [request](Session& run) {
          return run.List(*request,
                          {"id", "authorized_for", "creator", "created", "version", "app_key",
                           "damaged"});
        });
    AddPair(verb, *request);
  }
  {
    const auto request = NewRequest<v1::DescribeRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"show", "What is known of credentials without their secrets",
         "oauthvault credentials show main --project 123 --component acme.ex-drive"},
        [request](Session& run) { return run.Show(*request); });
    AddName(verb, *request);
    verb.add_option_function<std::uint64_t>(
            "--version", [request](std::uint64_t version) { request->set_version(version); },
            "A version that is kept, instead of the present one")
        ->check(CLI::PositiveNumber);
  }
  {
    const auto given = std::make_shared<Reveal>();
    CLI::App& verb = AddVerb(noun, session,
                             {"reveal",
                              "Credentials in clear, as JSON of the eight keys that components "
                              "know; several IDs: one a line, and an audit line for each",
                              "oauthvault credentials reveal main --project 123 --component "
                              "acme.ex-drive --field data --out token.json"},
                             [given](Session& run) { return RevealTo(run, *given); });
    verb.add_option("ID", given->names.ids, "The oauth id, or up to 64")->required();
    verb.add_option("--project", given->names.project, "Project")->required();
    verb.add_option("--component", given->names.component, "Component")->required();
    verb.add_option("--field", given->field, "json: the eight keys; data: #data, byte for byte")
        ->check(CLI::IsMember({"json", "data"}))
        ->capture_default_str();
    verb.add_option("--out", given->out, "A file, mode 0600, instead of standard output");
  }
  {
    const auto request = NewRequest<v1::DeleteRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"delete", "Delete credentials with all their versions",
         "oauthvault credentials delete main --project 123 --component acme.ex-drive"},
        [request](Session& run) {
          return run.Do(*request, "deleted credentials " + request->id());
        });
    AddName(verb, *request);
  }
  AddVersionVerbs(noun, session);
  AddWatchVerb(noun, session);
}

}  // namespace oauthvault::client
