#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "crypto/sealed.h"
#include "storage/engine.h"
#include "storage/tables/act.h"
#include "storage/tables/claims.h"
#include "storage/tables/open_row.h"
#include "storage/tables/opened.h"
#include "storage/tables/rows.h"

namespace oauthvault::storage {

/// The secret parts of a row on their way in.
struct Secrets {
  std::optional<crypto::SecretBytes> data;
  std::optional<crypto::SecretBytes> app_secret;

  Secrets Clone() const;
};

/// A page of a listing. `next` goes into the following call; empty at the end.
template <Row R>
struct Page {
  std::vector<Stored<R>> rows;
  std::string next;
  std::uint64_t damaged = 0;  ///< rows that do not open, passed over
};

/// What a listing does where a row does not open: most must not act on less than all rows.
enum class IfDamaged : std::uint8_t { kRefuse, kPassOver };

/// What a walk over rows does after one of them.
enum class Walk : std::uint8_t { kOn, kEnds };

/// A page holds at most this many rows; 0 in a request means kDefaultPageSize.
inline constexpr std::size_t kMaxPageSize = 500;
inline constexpr std::size_t kDefaultPageSize = 100;

/// Whose KEK seals the rows of R in `project` (not used where the vault owns them).
template <Row R>
crypto::Owner OwnerOf(std::string_view project) {
  return R::kOwner == crypto::OwnerKind::kProject ? crypto::Owner::Project(project)
                                                  : crypto::Owner::Vault();
}

/// Changes that are committed together, and why.
class Batch {
 public:
  explicit Batch(Act act) : act_(std::move(act)) {}

  /// What the line about the commit will say; whoever adds a change may complete it.
  Act& GetAct() { return act_; }

  /// Holds a claim until the batch is committed, or given up.
  void Hold(ProjectClaims::Claim claim) { claim_ = std::move(claim); }

  /// The row must not be there yet.
  template <Row R>
  void Insert(const R& row, Secrets secrets = {}) {
    Add(row, Expect::Absent(), 1, std::move(secrets));
  }
  /// The row must stand at `version`; the new one gets the next. Secret parts are those given, no
  /// others: what is to stay must be given again (`Store::OpenSecrets`).
  template <Row R>
  void Replace(const R& row, std::uint64_t version, Secrets secrets = {}) {
    Add(row, Expect::Version(version), version + 1, std::move(secrets));
  }
  /// In the place of a row that does not open, and stands as `as_it_stands` says
  /// (`Store::AsItStands`): nobody knows its version.
  template <Row R>
  void ReplaceDamaged(const R& row, const Expect& as_it_stands, std::uint64_t version,
                      Secrets secrets) {
    Add(row, as_it_stands, version, std::move(secrets));
  }
  /// Puts a row in the place of whatever stands under its names, or of nothing. Where the store is
  /// too full for new rows what stands is removed: for what is kept beside a change that should not
  /// fail for it.
  template <Row R>
  void PutWhereRoom(const R& row, Secrets secrets) {
    Add(row, Expect{}, 1, std::move(secrets));
    pending_.back().where_room = true;
  }
  /// A row that does not open, and stands as `as_it_stands` says (`Store::AsItStands`).
  template <Row R>
  void RemoveDamaged(const crypto::RowNames& names, const Expect& as_it_stands) {
    RemoveWhere<R>(names, as_it_stands);
  }
  /// The row must stand at `version`.
  template <Row R>
  void Remove(const R& row, std::uint64_t version) {
    RemoveWhere<R>(row.Names(), Expect::Version(version));
  }
  /// Whatever stands under these names, damaged or not, or nothing.
  template <Row R>
  void RemoveAnyhow(const crypto::RowNames& names) {
    RemoveWhere<R>(names, Expect{});
  }

 private:
  friend class Store;
  struct Pending {
    TableId table;
    crypto::RowNames names;
    crypto::Owner owner;
    Expect expect;
    std::uint64_t version;
    std::optional<crypto::SecretBytes> meta;  // absent: remove
    Secrets secrets;
    bool where_room = false;
  };
  template <Row R>
  void RemoveWhere(const crypto::RowNames& names, const Expect& expect) {
    pending_.push_back({R::kTable, names, OwnerOf<R>(names.project), expect, 0, std::nullopt, {}});
  }
  template <Row R>
  void Add(const R& row, Expect expect, std::uint64_t version, Secrets secrets) {
    FieldWriter fields;
    row.Encode(fields);
    pending_.push_back({R::kTable, row.Names(), OwnerOf<R>(row.Names().project), expect, version,
                        std::move(fields).Take(), std::move(secrets)});
  }
  Act act_;
  std::vector<Pending> pending_;
  ProjectClaims::Claim claim_;
};

/// How far the rewrapping of an owner's rows has come.
struct RewrapPage {
  std::uint64_t looked_at = 0;
  std::uint64_t rewrapped = 0;
  std::string next;  ///< goes into the following call; empty at the end
};

/// Typed rows over an engine: seals on the way in, opens meta on the way out, and checks that the
/// names inside a row hash to the key under which it was found. Threads: any.
class Store {
 public:
  Store(Engine& engine, const crypto::Keyring& keyring) : engine_(engine), keyring_(keyring) {}

  /// `Keyring::FingerprintKey`, for what is stored with fingerprints.
  const crypto::SecretBytes& FingerprintKey() const { return keyring_.FingerprintKey(); }

  /// The row, or nullopt. Errors: Corrupt (this row), Unavailable.
  template <Row R>
  Result<std::optional<Stored<R>>> Find(const crypto::RowNames& names) const {
    const crypto::RowKey key = keyring_.KeyOf(static_cast<std::uint8_t>(R::kTable), names);
    Result<std::optional<crypto::SealedRow>> sealed = ReadOne(key);
    if (!sealed) return Fail(std::move(sealed));
    if (!*sealed) return std::optional<Stored<R>>();
    return OpenRow<R>(keyring_, OwnerOf<R>(names.project), key, std::move(**sealed), names);
  }

  /// The same where the row must be there. Errors: NotFound, and as Find.
  template <Row R>
  Result<Stored<R>> Get(const crypto::RowNames& names) const {
    Result<std::optional<Stored<R>>> found = Find<R>(names);
    if (!found) return Fail(std::move(found));
    if (!*found) return Fail(Code::kNotFound, R::kNotFound);
    return std::move(**found);
  }

  /// What a change expects that is made of a row as it stands now, whether or not it opens.
  /// Errors: Unavailable.
  template <Row R>
  Result<Expect> AsItStands(const crypto::RowNames& names) const {
    const crypto::RowKey key = keyring_.KeyOf(static_cast<std::uint8_t>(R::kTable), names);
    Result<std::optional<crypto::SealedRow>> sealed = ReadOne(key);
    if (!sealed && sealed.error().GetCode() == Code::kCorrupt) return Expect::Damaged();
    if (!sealed) return Fail(std::move(sealed));
    return *sealed ? Expect::Write(**sealed) : Expect::Absent();
  }

  /// Each of several rows, in the order of `names`: what Find would give. They come from one
  /// snapshot unless one of them is damaged in its structure, which costs no other its answer.
  /// Errors: Unavailable.
  template <Row R>
  Result<std::vector<Result<std::optional<Stored<R>>>>> FindEach(
      std::span<const crypto::RowNames> names) const {
    std::vector<crypto::RowKey> keys;
    keys.reserve(names.size());
    for (const crypto::RowNames& one : names) {
      keys.push_back(keyring_.KeyOf(static_cast<std::uint8_t>(R::kTable), one));
    }
    Result<std::vector<Result<std::optional<crypto::SealedRow>>>> rows = ReadEach(keys);
    if (!rows) return Fail(std::move(rows));
    std::vector<Result<std::optional<Stored<R>>>> found;
    found.reserve(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      Result<std::optional<crypto::SealedRow>>& sealed = (*rows)[i];
      if (!sealed) {
        found.push_back(Fail(std::move(sealed)));
      } else if (!*sealed) {
        found.push_back(std::nullopt);
      } else {
        found.push_back(OpenRow<R>(keyring_, OwnerOf<R>(names[i].project), keys[i],
                                   std::move(**sealed), names[i]));
      }
    }
    return found;
  }

  /// A component's row as Find gives it; null: it is not registered. Each reveal asks for its
  /// component's, so this one is read each time, and opened only where its bytes are new.
  /// Errors: as Find.
  Result<std::shared_ptr<const Stored<Component>>> FindComponent(const ComponentId& id) const;

  /// Rows of a table, or of a project, or of a project and component in it (empty = any), in order
  /// of their keys. Rows that a project owns are listed by project only: `project` is not empty.
  /// `page_token` is the `next` of the page before, or empty. Each page is a snapshot of its own: a
  /// row that stands throughout is met exactly once. (Where a row is damaged in its structure and
  /// passed over, those of its page are looked up one by one.)
  /// Errors: Invalid (the token, no project), Corrupt, Unavailable.
  template <Row R>
  Result<Page<R>> List(std::string_view project, std::string_view component,
                       std::string_view page_token, std::size_t page_size,
                       IfDamaged if_damaged = IfDamaged::kRefuse) const {
    if (R::kOwner == crypto::OwnerKind::kProject && project.empty()) {
      return Fail(Code::kInvalid, "rows that a project owns are listed by project");
    }
    Result<RawPage> raw =
        ScanPage(R::kTable, project, component, page_token, page_size, if_damaged);
    if (!raw) return Fail(std::move(raw));
    Page<R> page{{}, std::move(raw->next), raw->damaged};
    for (KeyedRow& keyed : raw->rows) {
      Result<Stored<R>> opened =
          OpenRow<R>(keyring_, OwnerOf<R>(project), keyed.key, std::move(keyed.row));
      if (opened) {
        page.rows.push_back(std::move(*opened));
      } else if (if_damaged == IfDamaged::kPassOver && opened.error().GetCode() == Code::kCorrupt) {
        ++page.damaged;
      } else {
        return Fail(std::move(opened));
      }
    }
    return page;
  }

  /// Calls `take(Stored<R>&)` for each row that List would list, page by page. `take` returns
  /// nothing; or Walk, which may end it; or Result<void>: an error ends it and is passed on.
  /// `passed_over`: where given, rows that do not open are counted in it, and end nothing.
  /// Errors: those of List.
  template <Row R, class Take>
  Result<void> ForEach(std::string_view project, std::string_view component, Take take,
                       std::uint64_t* passed_over = nullptr) const {
    const IfDamaged if_damaged = passed_over ? IfDamaged::kPassOver : IfDamaged::kRefuse;
    std::string page_token;
    do {
      Result<Page<R>> page = List<R>(project, component, page_token, kMaxPageSize, if_damaged);
      if (!page) return Fail(std::move(page));
      if (passed_over) *passed_over += page->damaged;
      for (Stored<R>& stored : page->rows) {
        using Taken = decltype(take(stored));
        if constexpr (std::is_void_v<Taken>) {
          take(stored);
        } else if constexpr (std::is_same_v<Taken, Walk>) {
          if (take(stored) == Walk::kEnds) return {};
        } else if (Result<void> taken = take(stored); !taken) {
          return taken;
        }
      }
      page_token = std::move(page->next);
    } while (!page_token.empty());
    return {};
  }

  /// Opens one secret part. Callers outside custody open only what is the vault's own (CA key, API
  /// token, links): credentials leave through custody, behind an audit record.
  template <Row R>
  Result<crypto::SecretBytes> OpenSecret(const Stored<R>& stored, crypto::Part part) const {
    return keyring_.Open(stored.part_key, stored.key, stored.sealed, part);
  }
  /// The same into the caller's memory of `stored.sealed.PlainSize(part)` bytes.
  template <Row R>
  Result<void> OpenSecretInto(const Stored<R>& stored, crypto::Part part,
                              std::span<std::uint8_t> plain) const {
    return keyring_.OpenInto(stored.part_key, stored.key, stored.sealed, part, plain);
  }
  /// All secret parts, for a Replace that keeps them.
  template <Row R>
  Result<Secrets> OpenSecrets(const Stored<R>& stored) const {
    return OpenAll(stored.part_key, stored.key, stored.sealed);
  }

  /// Seals and commits all changes or none; durable when it returns, with the generation, and so is
  /// the line about it. Errors: as Engine::Commit; NotFound when an owner has no KEK, Invalid when
  /// a part is too large. After Unavailable it may have been made.
  Result<std::uint64_t> Commit(Batch batch);

  /// Where the store stands, and what its rows come to. Errors: NotFound (nothing was ever
  /// committed), Corrupt, Unavailable.
  Result<Anchor> GetAnchor() const {
    Result<Stored<Anchor>> stored = Get<Anchor>(Anchor::Names());
    if (!stored) return Fail(std::move(stored));
    return std::move(stored->row);
  }

  /// Brings up to `limit` rows of `owner` (1 to kMaxPageSize) under its newest KEK: their data keys
  /// are wrapped anew, nothing else changes. `page_token`: the `next` of the page before, or empty.
  /// What changes meanwhile is sealed anew by whoever changes it, and not touched.
  /// Errors: Invalid, NotFound (the owner has no KEK), Corrupt, Conflict (a row was changed and is
  /// not under the newest KEK: the same page again), Exhausted, Unavailable.
  Result<RewrapPage> Rewrap(const crypto::Owner& owner, const std::string& page_token,
                            std::size_t limit, const Act& act);

  /// Removes up to `limit` rows (1 to kMaxPageSize) that a project has in a table, without opening
  /// them, damaged or not; how many. 0: none are left. Errors: Invalid, Corrupt (a page of the
  /// store), Unavailable.
  Result<std::uint64_t> RemoveUnopened(TableId table, const ProjectId& project, std::size_t limit,
                                       const Act& act);

  /// Who adds to projects, and who removes them.
  ProjectClaims& Claims() const { return claims_; }

  const Engine& GetEngine() const { return engine_; }
  /// Whose keys seal the rows: for keyed hashes that stand in them.
  const crypto::Keyring& GetKeyring() const { return keyring_; }

  /// Calls `changed` with the names of each row of a table that a batch has written or removed, or
  /// may have, and with a project's name alone where rows of it were removed unopened: from the
  /// thread that committed, behind the commit. It must be short and not commit. `who` names it for
  /// StopListening; both are called while nobody else commits.
  void Listen(TableId table, const void* who,
              std::function<void(const crypto::RowNames&)> changed) {
    listeners_.push_back({table, who, std::move(changed)});
  }
  /// Calls none of `who` any more.
  void StopListening(const void* who) {
    std::erase_if(listeners_, [who](const Listener& one) { return one.who == who; });
  }

 private:
  struct RawPage {
    std::vector<KeyedRow> rows;
    std::string next;
    std::uint64_t damaged = 0;  // in their structure, passed over
  };
  Result<void> CommitRewrapped(const crypto::Owner& owner, std::span<const Change> changes,
                               const Act& act);
  std::vector<std::vector<std::uint8_t>> PrefixesOf(const crypto::Owner& owner) const;
  void TellListeners(TableId table, const crypto::RowNames& names) const;
  Result<std::optional<crypto::SealedRow>> ReadOne(const crypto::RowKey& key) const;
  Result<std::vector<Result<std::optional<crypto::SealedRow>>>> ReadEach(
      std::span<const crypto::RowKey> keys) const;
  Result<RawPage> ScanPage(TableId table, std::string_view project, std::string_view component,
                           std::string_view page_token, std::size_t page_size,
                           IfDamaged if_damaged) const;
  Result<RawPage> ReadPage(std::vector<crypto::RowKey> keys, std::size_t wanted) const;
  Result<Secrets> OpenAll(const crypto::HeldPartKey& part_key, const crypto::RowKey& key,
                          const crypto::SealedRow& sealed) const;

  Engine& engine_;
  const crypto::Keyring& keyring_;
  struct Listener {
    TableId table;
    const void* who;
    std::function<void(const crypto::RowNames&)> changed;
  };
  std::vector<Listener> listeners_;
  mutable OpenedComponents components_;
  mutable ProjectClaims claims_;
};

}  // namespace oauthvault::storage
