#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "client/input.h"
#include "client/private_file.h"
#include "client/session.h"
#include "oauthvault/v1/operations.pb.h"

namespace oauthvault::client {
namespace {

constexpr const char* kKeyFile = "key_file";
constexpr const char* kPassphrase = "passphrase";
constexpr const char* kShares = "shares";

/// Where a new secret comes from, or goes to.
struct Place {
  std::filesystem::path out;
  std::string passphrase_file;
};

/// Whether the options fit the kind; and makes sure of the place that the secret will go to, before
/// the daemon is asked: no slot comes into being whose secret nobody can keep.
Outcome<void> Reserve(const std::string& kind, const Place& place) {
  if (kind != kPassphrase && !place.passphrase_file.empty()) {
    return Refuse(Code::kInvalid, "--passphrase-file is for a passphrase, and this slot is of "
                                  "another kind");
  }
  if (kind == kPassphrase && !place.out.empty()) {
    return Refuse(Code::kInvalid, "--out is for a key file or shares: a passphrase is what you "
                                  "give");
  }
  if (kind == kKeyFile) {
    if (place.out.empty()) {
      return Refuse(Code::kInvalid, "a key file needs a place: --out FILE");
    }
    return ExpectRoomFor(place.out);
  }
  if (kind == kShares && !place.out.empty()) return MakePrivateFolder(place.out);
  return {};
}

crypto::SecretBytes WithLineEnd(const crypto::SecretBytes& text) {
  crypto::SecretBytes line(text.Size() + 1);
  line.Fill([&](std::span<std::uint8_t> room) {
    text.Expose([&](std::span<const std::uint8_t> bytes) {
      std::ranges::copy(bytes, room.begin());
    });
    room.back() = '\n';
  });
  return line;
}

/// The files that the texts go to: the key file, or one for each share.
std::vector<std::filesystem::path> FilesOf(const NewSlot& slot, const Place& place) {
  std::vector<std::filesystem::path> files;
  if (place.out.empty()) return files;
  if (slot.kind == kKeyFile) return {place.out};
  for (std::size_t index = 1; index <= slot.texts.size(); ++index) {
    files.push_back(place.out / ("share-" + std::to_string(index)));
  }
  return files;
}

/// All of them, or none.
Outcome<void> WriteFiles(const NewSlot& slot, const std::vector<std::filesystem::path>& files) {
  for (std::size_t index = 0; index < files.size(); ++index) {
    auto written = WithLineEnd(slot.texts[index]).Expose([&](std::span<const std::uint8_t> bytes) {
      return WritePrivateFile(files[index], bytes, Existing::kRefuse);
    });
    if (written) continue;
    std::error_code ignored;
    for (std::size_t done = 0; done < index; ++done) {
      std::filesystem::remove(files[done], ignored);
    }
    return written;
  }
  return {};
}

nlohmann::ordered_json AsJson(const NewSlot& slot) {
  return {{"id", slot.id},
          {"kind", slot.kind},
          {"label", slot.label},
          {"threshold", slot.threshold},
          {"total", slot.total}};
}

Outcome<void> PrintJson(const NewSlot& slot, const std::vector<std::filesystem::path>& files) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  object["slot"] = AsJson(slot);
  if (!files.empty()) {
    object["files"] = nlohmann::ordered_json::array();
    for (const auto& file : files) object["files"].push_back(file.string());
    return WriteOut(RenderOne(object, Style::kJson));
  }
  // The texts stand in JSON as they are, see NewSlot.
  std::string before = RenderOne(object, Style::kJson);
  before.resize(before.rfind('}'));
  before += ",\"texts\":[";
  Outcome<void> written;
  for (const auto& text : slot.texts) {
    if (written) written = WriteAround(before + '"', text, "\"");
    before = ",";
  }
  if (written && slot.texts.empty()) written = WriteOut(before);
  return written ? WriteOut("]}\n") : written;
}

Outcome<void> PrintForPeople(const NewSlot& slot, const std::vector<std::filesystem::path>& files) {
  nlohmann::ordered_json shown = AsJson(slot);
  if (slot.kind != kShares) {
    shown.erase("threshold");
    shown.erase("total");
  }
  std::string text = RenderOne(shown, Style::kPeople);
  for (const auto& file : files) text += "file: " + Printable(file.string()) + '\n';
  auto written = WriteOut(text);
  if (!files.empty()) return written;
  for (std::size_t index = 0; index < slot.texts.size() && written; ++index) {
    written = WriteAround("share " + std::to_string(index + 1) + ": ", slot.texts[index], "\n");
  }
  if (written && !slot.texts.empty()) {
    std::fputs("These shares are shown this once. Give each to another person.\n", stderr);
  }
  return written;
}

/// Puts the new slot's secret where it belongs.
Outcome<void> Keep(Session& run, const NewSlot& slot, const Place& place) {
  const std::size_t expected = slot.kind == kKeyFile ? 1 : slot.kind == kShares ? slot.total : 0;
  if (slot.texts.size() != expected || (slot.kind == kShares && expected == 0)) {
    return Refuse(Code::kCorrupt, "the daemon's answer has not the secrets of such a slot");
  }
  const auto files = FilesOf(slot, place);
  auto kept = WriteFiles(slot, files);
  if (!kept) return kept;
  return run.style == Style::kJson ? PrintJson(slot, files) : PrintForPeople(slot, files);
}

/// `make` is how the daemon is asked: a slot is added, or gets another secret.
template <class Request>
Outcome<void> Make(Session& run, const std::string& kind, const Place& place, Request& request,
                   Outcome<NewSlot> (Vault::*make)(Request&)) {
  auto vault = run.Reach();
  if (!vault) return Refuse(std::move(vault));
  auto reserved = Reserve(kind, place);
  if (!reserved) return reserved;
  if (kind == kPassphrase) {
    auto passphrase = ReadNewPassphrase(place.passphrase_file);
    if (!passphrase) return Refuse(std::move(passphrase));
    passphrase->Expose([&](std::span<const std::uint8_t> bytes) {
      request.set_passphrase(bytes.data(), bytes.size());
    });
  }
  auto slot = ((*vault)->*make)(request);
  auto kept = slot ? Keep(run, *slot, place) : Outcome<void>(Refuse(std::move(slot)));
  if (kept) return kept;
  std::error_code ignored;
  if (kind == kShares && !place.out.empty()) std::filesystem::remove(place.out, ignored);
  if (!slot) return kept;
  const std::string id = std::to_string(slot->id);
  return Refuse(kept.error().code, "slot " + id + " has a new secret, which could not be handed "
                                       "over (" + kept.error().message +
                                       "); make another one with: oauthvault slot reissue " + id);
}

struct Addition {
  v1::AddSlotRequest request;
  Place place;
};

Outcome<void> Add(Session& run, Addition& given) {
  const bool numbers = given.request.threshold() > 0 && given.request.total() > 0;
  const bool no_number = given.request.threshold() == 0 && given.request.total() == 0;
  if (given.request.kind() == kShares ? !numbers : !no_number) {
    return Refuse(Code::kInvalid, "shares have both --threshold and --total, other kinds neither");
  }
  return Make(run, given.request.kind(), given.place, given.request, &Vault::AddSlot);
}

struct Reissue {
  v1::ReissueSlotRequest request;
  Place place;
};

/// The kind that a slot has.
Outcome<std::string> KindOf(Session& run, std::uint32_t id) {
  v1::ListSlotsRequest request;
  auto slots = run.Call(request);
  if (!slots) return Refuse(std::move(slots));
  for (const auto& slot : slots->slots()) {
    if (slot.id() == id) return slot.kind();
  }
  return Refuse(Code::kNotFound, "there is no slot " + std::to_string(id));
}

Outcome<void> GiveAnother(Session& run, Reissue& given) {
  auto kind = KindOf(run, given.request.id());
  if (!kind) return Refuse(std::move(kind));
  return Make(run, *kind, given.place, given.request, &Vault::ReissueSlot);
}

Outcome<void> List(Session& run, v1::ListSlotsRequest& request) {
  auto slots = run.Call(request);
  if (!slots) return Refuse(std::move(slots));
  std::vector<nlohmann::ordered_json> rows;
  AppendRows(*slots, rows);
  if (run.style == Style::kPeople) {
    for (auto& row : rows) {
      const bool shares = row["total"].get<std::uint32_t>() > 0;
      row["opens_with"] =
          shares ? row["threshold"].dump() + " of " + row["total"].dump() + " shares" : "-";
    }
  }
  return WriteOut(RenderList(rows, {"id", "kind", "label", "opens_with"}, run.style));
}

void AddPlace(CLI::App& verb, Place& place) {
  verb.add_option("--out", place.out,
                  "A new file of mode 0600 for a key file's line (required); or a new folder for "
                  "shares, which are printed when it is not given");
  verb.add_option("--passphrase-file", place.passphrase_file,
                  "The new passphrase, 12 to 1,024 bytes: a file, or - for standard input; a "
                  "terminal is asked twice");
}

}  // namespace

void AddSlotVerbs(CLI::App& app, Session& session) {
  CLI::App& noun = AddNoun(app, "slot", "Slots: the ways to open the vault. Any one opens it");
  {
    const auto request = NewRequest<v1::ListSlotsRequest>();
    AddVerb(noun, session, {"list", "All slots, without their secrets", "oauthvault slot list"},
            [request](Session& run) { return List(run, *request); });
  }
  {
    const auto given = std::make_shared<Addition>();
    CLI::App& verb = AddVerb(noun, session,
                             {"add", "Add a way to open the vault; its secret is shown this once",
                              "oauthvault slot add --kind shares --label board --threshold 2 "
                              "--total 3"},
                             [given](Session& run) { return Add(run, *given); });
    verb.add_option("--kind", *given->request.mutable_kind(), "key_file, passphrase or shares")
        ->required()
        ->check(CLI::IsMember({kKeyFile, kPassphrase, kShares}));
    verb.add_option("--label", *given->request.mutable_label(),
                    "For people: 1 to 64 characters of ASCII")
        ->required();
    verb.add_option_function<std::uint32_t>(
            "--threshold",
            [given](std::uint32_t threshold) { given->request.set_threshold(threshold); },
            "How many shares open")
        ->check(CLI::Range(2U, 16U));
    verb.add_option_function<std::uint32_t>(
            "--total", [given](std::uint32_t total) { given->request.set_total(total); },
            "Of how many shares")
        ->check(CLI::Range(2U, 16U));
    AddPlace(verb, given->place);
  }
  {
    const auto given = std::make_shared<Reissue>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"reissue", "Give a slot a new secret; the old one opens nothing any more",
         "oauthvault slot reissue 2 --out key"},
        [given](Session& run) { return GiveAnother(run, *given); });
    verb.add_option_function<std::uint32_t>(
            "ID", [given](std::uint32_t id) { given->request.set_id(id); },
            "As `slot list` shows it")
        ->required();
    AddPlace(verb, given->place);
  }
  {
    const auto request = NewRequest<v1::RemoveSlotRequest>();
    CLI::App& verb =
        AddVerb(noun, session,
                {"remove", "Remove a slot; the last one stays", "oauthvault slot remove 2"},
                [request](Session& run) {
                  return run.Do(*request, "removed slot " + std::to_string(request->id()));
                });
    verb.add_option_function<std::uint32_t>(
            "ID", [request](std::uint32_t id) { request->set_id(id); },
            "As `slot list` shows it")
        ->required();
  }
}

}  // namespace oauthvault::client
