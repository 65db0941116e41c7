#include "client/session.h"
#include "oauthvault/v1/operations.pb.h"

namespace oauthvault::client {
namespace {

/// The command line of `keys rotate`.
struct Rotation {
  bool root = false;
  bool vault = false;
  std::string project;
  std::string component;
};

Outcome<void> Rotate(Session& run, const Rotation& given) {
  const int owners = (given.root ? 1 : 0) + (given.vault ? 1 : 0) +
                     (given.project.empty() ? 0 : 1) + (given.component.empty() ? 0 : 1);
  if (owners != 1) {
    return Refuse(Code::kInvalid, "say whose key, and only one: --root, --vault, --project P or "
                                  "--component C");
  }
  v1::RotateKeysRequest request;
  std::string done;
  if (given.root) {
    request.set_root(true);
    done = "the root has a new key, epoch ";
  } else if (given.vault) {
    request.set_vault(true);
    done = "the vault has a new key, version ";
  } else if (!given.project.empty()) {
    request.set_project(given.project);
    done = "project " + given.project + " has a new key, version ";
  } else {
    request.set_component(given.component);
    done = "component " + given.component + " has a new key, version ";
  }
  auto rotated = run.Call(request);
  if (!rotated) return Refuse(std::move(rotated));
  if (run.style == Style::kJson) return WriteOut(RenderOne(AsJson(*rotated), run.style));
  return WriteOut(Printable(done + std::to_string(rotated->version())) + '\n');
}

Outcome<void> Rewrap(Session& run, v1::RewrapRequest& request) {
  auto begun = run.Call(request);
  if (!begun) return Refuse(std::move(begun));
  if (run.style == Style::kJson) return WriteOut(RenderOne(AsJson(*begun), run.style));
  if (begun->owners() == 0) return WriteOut("every row is under its owner's newest key\n");
  return WriteOut("owners with rows to rewrap: " + std::to_string(begun->owners()) +
                  "\nit goes on in the background; see: oauthvault keys status\n");
}

Outcome<void> ShowStatus(Session& run, v1::KeysStatusRequest& request) {
  auto status = run.Call(request);
  if (!status) return Refuse(std::move(status));
  nlohmann::ordered_json json = AsJson(*status);
  if (run.style == Style::kJson) return WriteOut(RenderOne(json, run.style));
  const nlohmann::ordered_json rewrapping = json["rewrapping"];
  json.erase("rewrapping");
  std::string text = RenderOne(json, run.style);
  if (rewrapping.empty()) {
    text += "rewrapping: -\n";
  } else {
    const std::vector<nlohmann::ordered_json> rows(rewrapping.begin(), rewrapping.end());
    text += '\n' + RenderList(rows, {"owner", "version", "looked_at", "rewrapped", "started_at_s"},
                              run.style);
  }
  return WriteOut(text);
}

}  // namespace

void AddKeysVerbs(CLI::App& app, Session& session) {
  CLI::App& noun = AddNoun(app, "keys", "Keys: new ones, and what is still under older ones");
  {
    const auto given = std::make_shared<Rotation>();
    CLI::App& verb = AddVerb(noun, session,
                             {"rotate",
                              "A new key for one owner; its rows are rewrapped in the background",
                              "oauthvault keys rotate --project 123"},
                             [given](Session& run) { return Rotate(run, *given); });
    verb.add_flag("--root", given->root, "The root, under which all other keys are");
    verb.add_flag("--vault", given->vault, "The vault's own key");
    verb.add_option("--project", given->project, "A project's key");
    verb.add_option("--component", given->component, "A component's key");
  }
  {
    const auto request = NewRequest<v1::RewrapRequest>();
    AddVerb(noun, session,
            {"rewrap", "Bring what is under an older key to the newest, in the background",
             "oauthvault keys rewrap"},
            [request](Session& run) { return Rewrap(run, *request); });
  }
  {
    const auto request = NewRequest<v1::KeysStatusRequest>();
    AddVerb(noun, session,
            {"status", "How many keys there are, and how far rewrapping is",
             "oauthvault keys status"},
            [request](Session& run) { return ShowStatus(run, *request); });
  }
}

}  // namespace oauthvault::client
