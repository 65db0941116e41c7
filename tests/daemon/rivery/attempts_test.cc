#include "daemon/rivery/attempts.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "daemon/custody/reveal.h"
#include "tests/daemon/rivery/rivery_vault.h"

namespace oauthvault::rivery {
namespace {

using access::Right;
using fakes::BytesOf;
using fakes::CodeOf;
using fakes::Fault;
using fakes::TextOf;
using fakes::TestVault;
using std::chrono::milliseconds;
using std::chrono::seconds;
using storage::AttemptState;
using Acts = std::vector<std::string>;
using Steady = std::chrono::steady_clock;
using Op = fakes::Operation;

/// A generous bound for what happens in tens of milliseconds.
constexpr seconds kLong(60);
/// So often does a fault happen that is to last until the faults are cleared.
constexpr unsigned kAlways = 100'000;

class AttemptsTest : public RiveryVault {
 protected:
  explicit AttemptsTest(TestVault::On on = TestVault::On::kMemory) : RiveryVault(on) {}

  void SetUp() override {
    RiveryVault::SetUp();
    New();
  }
  void TearDown() override {
    watches_.clear();
    attempts_.reset();
  }

  /// A driver that does nothing until `Go()`, so that a test can order and watch first.
  void New() {
    if (attempts_) attempts_->Stop();  // what is committed is told before the watches end
    watches_.clear();
    attempts_.reset();
    attempts_ = std::make_unique<Attempts>(client_, rate_, vault_.Store(), vault_.Grants(),
                                           vault_.Trail(), fakes::ReadPrincipal,
                                           settings_, [this] { return now_s_.load(); });
  }
  void Go() {
    auto started = attempts_->Start();
    ASSERT_TRUE(started) << started.error().Message();
  }
  /// As a daemon that ends and starts again.
  void Restart() {
    attempts_->Stop();
    watches_.clear();
    attempts_.reset();
    vault_.Reopen();
    New();
  }

  Order OrderOf(std::string_view connection_name) const {
    Order order{.account = account_, .oauth_id = TestVault::IdOf("one"), .authorized_for = "ann"};
    order.connection_name = connection_name;
    return order;
  }
  /// `connection_name` empty: authorize alone.
  Result<storage::Stored<storage::Attempt>> TryAuthorize(const Order& order) {
    std::optional<access::Permit> to_connect;
    if (!order.connection_name.empty()) to_connect = vault_.PermitFor(Right::kConnect);
    return attempts_->Authorize(vault_.PermitFor(Right::kStore), to_connect, order,
                                fakes::SetupAct());
  }
  AttemptId Authorize(std::string_view connection_name = "") {
    auto attempt = TryAuthorize(OrderOf(connection_name));
    if (!attempt) {
      ADD_FAILURE() << attempt.error().Message();
      return *AttemptId::Parse("none");
    }
    Watch(attempt->row.id);
    return attempt->row.id;
  }
  AttemptId Connect(std::string_view connection_name = "sheet") {
    auto attempt = attempts_->Connect(vault_.PermitFor(Right::kConnect), OrderOf(connection_name),
                                      fakes::SetupAct());
    if (!attempt) {
      ADD_FAILURE() << attempt.error().Message();
      return *AttemptId::Parse("none");
    }
    Watch(attempt->row.id);
    return attempt->row.id;
  }

  /// An attempt as another daemon would have left it.
  AttemptId Leave(AttemptState state, std::string_view name = "sheet",
                  std::vector<std::string> known_ids = {}) {
    const AttemptId id = *AttemptId::Parse("left-" + std::to_string(++left_));
    storage::Attempt row{vault_.project, vault_.component, id, account_, TestVault::IdOf("one")};
    row.state = state;
    row.connect = true;
    row.connection_name = name;
    row.principal = fakes::kRunner;
    row.known_ids = std::move(known_ids);
    storage::Batch batch(fakes::SetupAct());
    batch.Insert(row);
    EXPECT_TRUE(vault_.Store().Commit(std::move(batch)));
    Watch(id);
    return id;
  }

  /// Puts other bytes in the place of a row, as whoever has the disk may.
  void Replace(const crypto::RowKey& key, const crypto::SealedRow& row) {
    std::vector<storage::Change> changes;
    changes.push_back({key, storage::Expect{}, row});
    const auto act = storage::EncodeAct(fakes::SetupAct());
    ASSERT_TRUE(vault_.Engine().Commit(std::move(changes), {act.begin(), act.end()}));
  }

  storage::Stored<storage::Attempt> Row(const AttemptId& id) {
    auto row = vault_.Store().Get<storage::Attempt>(
        storage::Attempt::Names(vault_.project, vault_.component, id));
    if (!row) std::abort();
    return std::move(*row);
  }

  /// Waits until the attempt is in `state`, and gives its row. Fails when it ends elsewhere.
  storage::Attempt Await(const AttemptId& id, AttemptState state) {
    return AwaitThat(id, [state](const storage::Attempt& row) { return row.state == state; });
  }
  /// Waits for failed, and gives the reason.
  std::string AwaitFailure(const AttemptId& id) {
    return Await(id, AttemptState::kFailed).failure;
  }
  template <class F>
  storage::Attempt AwaitThat(const AttemptId& id, F&& holds) {
    const auto until = Steady::now() + kLong;
    while (true) {
      auto row = vault_.Store().Get<storage::Attempt>(
          storage::Attempt::Names(vault_.project, vault_.component, id));
      if (row && holds(row->row)) return row->row;
      const bool ended = row && IsFinal(row->row);
      if (ended || Steady::now() > until) {
        ADD_FAILURE() << "the attempt stands at " << (row ? NameOf(row->row.state) : "no row")
                      << " " << (row ? row->row.failure : "");
        return row ? row->row : storage::Attempt{vault_.project, vault_.component, id, account_,
                                                 TestVault::IdOf("one")};
      }
      std::this_thread::sleep_for(milliseconds(2));
    }
  }
  template <class F>
  void AwaitTrue(F&& holds) {
    const auto until = Steady::now() + kLong;
    while (!holds()) {
      ASSERT_LT(Steady::now(), until);
      std::this_thread::sleep_for(milliseconds(2));
    }
  }

  /// Clicks on the consent page of an attempt that is started.
  void Consent(const AttemptId& id, fakes::Decision decision = fakes::Decision::kAllow) {
    Await(id, AttemptState::kStarted);
    auto link = attempts_->GetLink(vault_.PermitFor(Right::kStore), id);
    ASSERT_TRUE(link) << link.error().Message();
    ASSERT_TRUE(standin_->Click(TextOf(link->auth_uri), decision));
  }

  std::string DataOf(std::string_view oauth_id = "one") {
    auto row = vault_.Store().Get<storage::Credentials>(storage::Credentials::Names(
        vault_.project, vault_.component, TestVault::IdOf(oauth_id)));
    if (!row) return "";
    return TextOf(*vault_.Store().OpenSecret(*row, crypto::Part::kData));
  }

  void Fail(Op operation, Fault fault, unsigned times = 1,
            std::optional<milliseconds> delay = std::nullopt) {
    standin_->AddFault({.operation = operation, .fault = fault, .times = times, .delay = delay});
  }

  /// Notes each change of state of `id` in `seen_`.
  void Watch(const AttemptId& id) {
    auto last = std::make_shared<AttemptState>(Row(id).row.state);
    watches_.push_back(attempts_->Subscribe(id, [this, last](const storage::Attempt& row) {
      const std::lock_guard lock(seen_guard_);
      if (row.state == *last) return;  // what it waits for changed
      seen_.emplace_back(*last, row.state);
      *last = row.state;
    }));
  }
  using Seen = std::vector<std::pair<AttemptState, AttemptState>>;
  Seen Transitions() {
    const std::lock_guard lock(seen_guard_);
    return seen_;
  }
  /// The states that attempts were moved to, in order.
  std::string Path() {
    std::string path;
    for (const auto& [from, to] : Transitions()) {
      path += (path.empty() ? "" : " ") + std::string(NameOf(to));
    }
    return path;
  }

  /// The row is there to be read before its watchers are told.
  void ExpectPath(std::string_view path) {
    const auto until = Steady::now() + kLong;
    while (Path() != path && Steady::now() < until) std::this_thread::sleep_for(milliseconds(2));
    EXPECT_EQ(Path(), path);
  }
  /// A commit of no attempt: before it, what could not be told before is told.
  void CommitAnother() { vault_.Put("another", "{}"); }

  AttemptSettings settings_{.poll_interval = milliseconds(20),
                            .retry_interval = milliseconds(20),
                            .settle_time = milliseconds(200),
                            .pending_statuses = {}};
  std::atomic<std::int64_t> now_s_ = fakes::kVaultNow;
  std::unique_ptr<Attempts> attempts_;
  int left_ = 0;

  std::mutex seen_guard_;
  Seen seen_;
  std::vector<Attempts::Watch> watches_;
};

// --- the flow -----------------------------------------------------------------------------------

TEST_F(AttemptsTest, AuthorizeAndConnect_GoesFromNewToCreated) {
  const AttemptId id = Authorize("sheet");
  EXPECT_EQ(Row(id).row.state, AttemptState::kNew);
  EXPECT_EQ(AllRequests(), 0);
  Go();
  const storage::Attempt started = Await(id, AttemptState::kStarted);
  EXPECT_EQ(started.expires_at_s, fakes::kVaultNow + kDefaultValidityS);
  Consent(id);
  const storage::Attempt created = Await(id, AttemptState::kCreated);
  ExpectPath("started stored creating created");

  const fakes::Json state = standin_->State();
  ASSERT_EQ(state.at("connections").size(), 1u);
  const fakes::Json& remote = state.at("connections")[0];
  EXPECT_EQ(created.connection_id, remote.at("_id"));
  EXPECT_EQ(remote.at("connection_name"), "sheet");
  EXPECT_EQ(remote.at("credentials"), state.at("attempts")[0].at("credentials"));
  // Byte for byte what the stand-in replied.
  EXPECT_EQ(DataOf(), state.at("attempts")[0].at("credentials").dump(
                          -1, ' ', false, fakes::Json::error_handler_t::replace));

  const auto connection = vault_.Store().Get<storage::Connection>(storage::Connection::Names(
      vault_.project, vault_.component, account_, created.connection_id));
  ASSERT_TRUE(connection);
  EXPECT_EQ(connection->row.name, "sheet");
  EXPECT_EQ(connection->row.cross_id, remote.at("cross_id"));
  EXPECT_EQ(connection->row.connection_type, "gspreadsheet");
  EXPECT_EQ(connection->row.oauth_id.Str(), "one");
  EXPECT_EQ(connection->row.written_version, 1u);
  const auto credentials = vault_.Store().Get<storage::Credentials>(storage::Credentials::Names(
      vault_.project, vault_.component, connection->row.oauth_id));
  ASSERT_TRUE(credentials);
  EXPECT_EQ(connection->row.written_data, credentials->row.fingerprints.front());
  AwaitTrue([&] { return attempts_->OpenCount() == 0; });  // counted behind the commit
}

TEST_F(AttemptsTest, Authorize_AloneEndsAtStored) {
  const AttemptId id = Authorize();
  Go();
  Consent(id);
  const storage::Attempt stored = Await(id, AttemptState::kStored);
  EXPECT_TRUE(IsFinal(stored));
  EXPECT_EQ(stored.expires_at_s, 0);
  AwaitTrue([&] { return attempts_->OpenCount() == 0; });
  ExpectPath("started stored");
  EXPECT_EQ(Remote().size(), 0u);
  EXPECT_EQ(Requests("list"), 0);
}

TEST_F(AttemptsTest, Connect_AloneBeginsAtStored) {
  vault_.Put("one", kData);
  const AttemptId id = Connect();
  EXPECT_EQ(Row(id).row.state, AttemptState::kStored);
  EXPECT_FALSE(IsFinal(Row(id).row));
  Go();
  Await(id, AttemptState::kCreated);
  ExpectPath("creating created");
  EXPECT_EQ(Remote()[0].at("credentials"), fakes::Json::parse(kData));
  EXPECT_EQ(Requests("oauth2_start"), 0);
}

TEST_F(AttemptsTest, Stored_IsOneCommitWithTheCredentialsAndWithoutTheLink) {
  const AttemptId id = Authorize();
  Go();
  AwaitThat(id, [](const storage::Attempt& row) { return row.asked; });
  EXPECT_GT(Row(id).sealed.PlainSize(crypto::Part::kData), 0u);
  EXPECT_EQ(DataOf(), "");
  const std::uint64_t generation = vault_.Engine().Generation();
  Consent(id);
  Await(id, AttemptState::kStored);
  EXPECT_EQ(vault_.Engine().Generation(), generation + 1);
  EXPECT_NE(DataOf(), "");
  EXPECT_FALSE(Row(id).sealed.Has(crypto::Part::kData));
  EXPECT_EQ(CodeOf(attempts_->GetLink(vault_.PermitFor(Right::kStore), id)), "STALE");
}

TEST_F(AttemptsTest, Stored_BelongsToRiverysClientAndNoAppSecretGoesWithIt) {
  const AttemptId id = Authorize();
  Go();
  Consent(id);
  Await(id, AttemptState::kStored);
  auto release = custody::RevealAndWait(vault_.PermitFor(Right::kReveal), TestVault::IdOf("one"),
                                        TestVault::Caller(), "Credentials.Reveal", vault_.Store(),
                                        vault_.Trail());
  ASSERT_TRUE(release);
  EXPECT_TRUE(release->Row().foreign_client);
  EXPECT_EQ(release->Row().client_id, "000000000000-standin.apps.googleusercontent.com");
  EXPECT_EQ(release->Row().authorized_for, "ann");
  EXPECT_EQ(release->Row().creator_id, fakes::kRunner);
  EXPECT_EQ(release->AppSecretSize(), 0u);
}

TEST_F(AttemptsTest, Authorize_AgainReplacesTheCredentials) {
  vault_.Put("one", kData);
  const AttemptId id = Authorize();
  Go();
  Consent(id);
  Await(id, AttemptState::kStored);
  EXPECT_NE(DataOf(), kData);
}

TEST_F(AttemptsTest, Order_IsRefusedBeforeAnythingIsKept) {
  EXPECT_EQ(CodeOf(attempts_->Connect(vault_.PermitFor(Right::kConnect), OrderOf("sheet"),
                                      fakes::SetupAct())),
            "NOT_FOUND");  // no such credentials
  vault_.Put("one", kData);
  const auto connect = [&](std::string_view name) {
    return CodeOf(attempts_->Connect(vault_.PermitFor(Right::kConnect), OrderOf(name),
                                     fakes::SetupAct()));
  };
  EXPECT_EQ(connect(""), "INVALID");
  EXPECT_EQ(connect(std::string(201, 'x')), "INVALID");
  EXPECT_EQ(connect("a\nb"), "INVALID");
  EXPECT_EQ(connect("\xff"), "INVALID");
  const auto authorize = [&](auto&& change) {
    Order order = OrderOf("");
    change(order);
    return CodeOf(TryAuthorize(order));
  };
  EXPECT_EQ(authorize([](Order& order) { order.validity_s = 299; }), "INVALID");
  EXPECT_EQ(authorize([](Order& order) { order.validity_s = 43'201; }), "INVALID");
  EXPECT_EQ(authorize([](Order& order) { order.validity_s = -1; }), "INVALID");
  EXPECT_EQ(authorize([](Order& order) { order.authorized_for = "a\nb"; }), "INVALID");
  EXPECT_EQ(authorize([](Order& order) { order.deadline_s = 59; }), "INVALID");
  EXPECT_EQ(authorize([](Order& order) { order.deadline_s = 2'592'001; }), "INVALID");
  EXPECT_EQ(authorize([](Order& order) { order.account = *AccountId::Parse("none"); }),
            "NOT_FOUND");
  const auto authorize_on = [&](std::string_view project, std::string_view component) {
    return CodeOf(attempts_->Authorize(vault_.PermitFor(Right::kStore, project, component),
                                       std::nullopt, OrderOf(""), fakes::SetupAct()));
  };
  EXPECT_EQ(authorize_on("acme", "plain"), "INVALID");
  EXPECT_EQ(authorize_on("acme", "none"), "NOT_FOUND");
  EXPECT_EQ(authorize_on("none", "sheets"), "NOT_FOUND");
  Allow({"acme"});
  EXPECT_EQ(authorize_on("other", "sheets"), "DENIED");
  EXPECT_EQ(attempts_->OpenCount(), 0u);
  EXPECT_EQ(authorize([](Order& order) { order.validity_s = 300; }), "OK");
  EXPECT_EQ(authorize([](Order& order) { order.validity_s = 43'200; }), "OK");
  EXPECT_EQ(attempts_->OpenCount(), 2u);
}

// --- the table ----------------------------------------------------------------------------------

TEST_F(AttemptsTest, Order_AndTheRemovalOfItsProjectNeverBothComeAbout) {
  vault_.Revoke();
  const auto remove = [&] {
    return CodeOf(registry::RemoveProject(vault_.Store(), vault_.project, fakes::SetupAct()));
  };
  std::string meanwhile;
  vault_.Memory().BeforeNextCommit([&] { meanwhile = CodeOf(TryAuthorize(OrderOf(""))); });
  EXPECT_EQ(remove(), "OK");
  EXPECT_EQ(meanwhile, "CONFLICT");
  ASSERT_TRUE(registry::AddProject(vault_.Keys(), vault_.Store(), vault_.project, "",
                                   fakes::SetupAct(), fakes::kVaultNow));
  vault_.Memory().BeforeNextCommit([&] { meanwhile = remove(); });
  EXPECT_EQ(CodeOf(TryAuthorize(OrderOf(""))), "OK");
  EXPECT_EQ(meanwhile, "CONFLICT");
}

TEST_F(AttemptsTest, Transitions_AllHappenAndNoOtherDoes) {
  const auto fresh = [&] {
    standin_->ClearFaults();
    New();
  };
  // new -> failed; started -> failed
  AttemptId id = Authorize();
  ASSERT_TRUE(attempts_->Cancel(vault_.PermitFor(Right::kStore), id, fakes::SetupAct()));
  id = Authorize();
  Go();
  Await(id, AttemptState::kStarted);
  ASSERT_TRUE(attempts_->Cancel(vault_.PermitFor(Right::kStore), id, fakes::SetupAct()));
  // new -> started -> stored -> creating -> stored (denied for now) -> creating -> created
  fresh();
  id = Authorize("a");
  Fail(Op::kCreate, Fault::kForbidden);
  Go();
  Consent(id);
  Await(id, AttemptState::kCreated);
  // stored -> failed
  fresh();
  id = Connect("b");
  ASSERT_TRUE(attempts_->Cancel(vault_.PermitFor(Right::kStore), id, fakes::SetupAct()));
  // creating -> failed
  id = Connect("c");
  Fail(Op::kCreate, Fault::kOkWithCode402);
  Go();
  EXPECT_EQ(AwaitFailure(id), "refused");
  // creating -> unclear -> created
  fresh();
  id = Connect("d");
  Fail(Op::kCreate, Fault::kCommitThenDrop);
  Go();
  Await(id, AttemptState::kCreated);
  // unclear -> stored
  fresh();
  id = Connect("e");
  Fail(Op::kCreate, Fault::kResetBeforeCommit);
  Go();
  Await(id, AttemptState::kCreated);
  // unclear -> failed
  fresh();
  MakeRemotely("f");
  MakeRemotely("f");
  id = Leave(AttemptState::kUnclear, "f");
  Go();
  EXPECT_EQ(AwaitFailure(id), "several_found");
  attempts_->Stop();  // the watches are told behind the commit

  std::set<std::pair<AttemptState, AttemptState>> table;
  for (const Transition& row : rivery::Transitions()) table.insert({row.from, row.to});
  EXPECT_EQ(table.size(), 13u);
  EXPECT_EQ(table.size(), rivery::Transitions().size());
  const Seen seen = Transitions();
  EXPECT_EQ((std::set<std::pair<AttemptState, AttemptState>>(seen.begin(), seen.end())), table);
  // Nothing leaves a final state, and the credentials' way is one way.
  for (const auto& [from, to] : table) {
    EXPECT_NE(from, AttemptState::kCreated);
    EXPECT_NE(from, AttemptState::kFailed);
    EXPECT_NE(to, AttemptState::kNew);
  }
}

TEST(AttemptStates, AreFinalWhereNothingIsLeftToDo) {
  storage::Attempt row{*ProjectId::Parse("p"), *ComponentId::Parse("c"), *AttemptId::Parse("a"),
                       *AccountId::Parse("e"), *OauthId::Parse("o")};
  for (const bool connect : {false, true}) {
    row.connect = connect;
    for (const auto& [state, name, is_final] :
         {std::tuple{AttemptState::kNew, "new", false},
          std::tuple{AttemptState::kStarted, "started", false},
          std::tuple{AttemptState::kStored, "stored", !connect},
          std::tuple{AttemptState::kCreating, "creating", false},
          std::tuple{AttemptState::kCreated, "created", true},
          std::tuple{AttemptState::kFailed, "failed", true},
          std::tuple{AttemptState::kUnclear, "unclear", false}}) {
      row.state = state;
      EXPECT_EQ(NameOf(state), name);
      EXPECT_EQ(IsFinal(row), is_final) << name << connect;
    }
  }
}

// --- before the consent -------------------------------------------------------------------------

TEST_F(AttemptsTest, Consent_DeniedEndsTheAttempt) {
  const AttemptId id = Authorize("sheet");
  Go();
  Consent(id, fakes::Decision::kDeny);
  EXPECT_EQ(AwaitFailure(id), "refused");
  EXPECT_EQ(DataOf(), "");
  EXPECT_FALSE(Row(id).sealed.Has(crypto::Part::kData));
}

TEST_F(AttemptsTest, Link_EndsWithItsTime) {
  const AttemptId id = Authorize();
  Go();
  Await(id, AttemptState::kStarted);
  now_s_ += kDefaultValidityS - 1;
  const int fetches = Requests("oauth2_fetch");
  AwaitTrue([&] { return Requests("oauth2_fetch") > fetches + 1; });
  EXPECT_EQ(Row(id).row.state, AttemptState::kStarted);
  now_s_ += 1;
  EXPECT_EQ(AwaitFailure(id), "expired");
  EXPECT_FALSE(Row(id).sealed.Has(crypto::Part::kData));
}

TEST_F(AttemptsTest, Pending_IsWhatHasNoSuccessCode) {
  for (const fakes::ReplyForm form :
       {fakes::ReplyForm::kOkWithoutCode, fakes::ReplyForm::kAccepted}) {
    standin_->SetKnobs({.pending = form});
    New();
    const AttemptId id = Authorize();
    Go();
    Await(id, AttemptState::kStarted);
    const int fetches = Requests("oauth2_fetch");
    AwaitTrue([&] { return Requests("oauth2_fetch") > fetches + 2; });
    Consent(id);
    Await(id, AttemptState::kStored);
  }
}

TEST_F(AttemptsTest, Pending_IsAStatusThatIsSaidToMeanIt) {
  standin_->SetKnobs({.pending = fakes::ReplyForm::kNotFound});
  const AttemptId refused = Authorize();
  Go();
  EXPECT_EQ(AwaitFailure(refused), "refused");

  settings_.pending_statuses = {404};
  New();
  const AttemptId id = Authorize();
  Go();
  Await(id, AttemptState::kStarted);
  const int fetches = Requests("oauth2_fetch");
  AwaitTrue([&] { return Requests("oauth2_fetch") > fetches + 2; });
  Consent(id);
  Await(id, AttemptState::kStored);
}

TEST_F(AttemptsTest, GetLink_ShowsTheConsentPageOfAStartedAttempt) {
  const AttemptId id = Authorize();
  EXPECT_EQ(CodeOf(attempts_->GetLink(vault_.PermitFor(Right::kStore), id)), "STALE");
  Go();
  Await(id, AttemptState::kStarted);
  const auto link = attempts_->GetLink(vault_.PermitFor(Right::kStore), id);
  ASSERT_TRUE(link);
  EXPECT_EQ(TextOf(link->auth_uri), standin_->State().at("attempts")[0].at("auth_uri"));
  EXPECT_EQ(link->expires_at_s, fakes::kVaultNow + kDefaultValidityS);
  EXPECT_EQ(CodeOf(attempts_->GetLink(vault_.PermitFor(Right::kStore, "other"), id)), "NOT_FOUND");
  ASSERT_TRUE(attempts_->Cancel(vault_.PermitFor(Right::kStore), id, fakes::SetupAct()));
  EXPECT_EQ(CodeOf(attempts_->GetLink(vault_.PermitFor(Right::kStore), id)), "STALE");
}

TEST_F(AttemptsTest, Start_ThatRiveryDoesNotKnowIsRefused) {
  registry::ComponentFields fields;
  fields.rivery_datasource_id = "mysql";  // without OAuth2: 402
  ASSERT_TRUE(registry::SetComponent(vault_.Store(), vault_.component, std::move(fields),
                                     registry::IfRegistered::kChange,
                                     fakes::ActBy("local/admin"), 1));
  const AttemptId id = Authorize();
  Go();
  EXPECT_EQ(AwaitFailure(id), "refused");
  EXPECT_EQ(Requests("oauth2_start"), 1);
}

TEST_F(AttemptsTest, Start_ThatCanNeverLeaveIsNotTriedForEver) {
  registry::ComponentFields fields;
  fields.rivery_datasource_id = std::string(200, 'x');  // longer than the client sends
  ASSERT_TRUE(registry::SetComponent(vault_.Store(), vault_.component, std::move(fields),
                                     registry::IfRegistered::kChange,
                                     fakes::ActBy("local/admin"), 1));
  const AttemptId id = Authorize();
  Go();
  EXPECT_EQ(AwaitFailure(id), "refused");
}

TEST_F(AttemptsTest, Outages_OfRiveryAreWaitedFor) {
  Fail(Op::kOauth2Start, Fault::kHtml502, 2);
  Fail(Op::kOauth2Fetch, Fault::kHtml500, 2);
  Fail(Op::kOauth2Fetch, Fault::kRateLimited, 1);
  Fail(Op::kList, Fault::kForbidden, 2);
  const AttemptId id = Authorize("sheet");
  Go();
  Consent(id);
  Await(id, AttemptState::kCreated);
  ExpectPath("started stored creating created");
  EXPECT_EQ(Remote().size(), 1u);
}

// --- an account that Rivery refuses -------------------------------------------------------------

TEST_F(AttemptsTest, Account_ThatRiveryRefusesIsMarkedAndItsAttemptsWait) {
  vault_.Put("one", kData);
  Fail(Op::kOauth2Start, Fault::kUnauthorized);
  const AttemptId fresh = Authorize("sheet");
  Go();
  AwaitTrue([&] { return attempts_->WaitingFor(fresh) == Waiting::kAccount; });
  const AttemptId second = Connect("other sheet");
  AwaitTrue([&] { return attempts_->WaitingFor(second) == Waiting::kAccount; });
  auto account = vault_.Store().Get<storage::Account>(storage::Account::Names(account_));
  ASSERT_TRUE(account);
  EXPECT_EQ(account->row.refused_at_s, fakes::kVaultNow);
  EXPECT_EQ(AllRequests(), 1);
  EXPECT_EQ(Row(fresh).row.state, AttemptState::kNew);
  EXPECT_EQ(Row(second).row.state, AttemptState::kStored);
  Allow({"*"});  // set anew
  Consent(fresh);
  Await(fresh, AttemptState::kCreated);
  Await(second, AttemptState::kCreated);
  EXPECT_EQ(Remote().size(), 2u);
}

TEST_F(AttemptsTest, Account_ThatIsRefusedInMidFlowLosesNothing) {
  for (const Op operation : {Op::kOauth2Fetch, Op::kList, Op::kCreate}) {
    const std::size_t before = Remote().size();
    New();
    Fail(operation, Fault::kUnauthorized);
    const AttemptId id = Authorize("sheet" + std::to_string(before));
    Go();
    if (operation != Op::kOauth2Fetch) Consent(id);
    AwaitTrue([&] { return attempts_->WaitingFor(id) == Waiting::kAccount; });
    const auto account = OpenAccountFor(vault_.Store(), account_, vault_.project);
    ASSERT_TRUE(account);
    ASSERT_TRUE(MarkGood(vault_.Store(), account_, account->version, fakes::SetupAct()));
    if (operation == Op::kOauth2Fetch) Consent(id);
    Await(id, AttemptState::kCreated);
    EXPECT_EQ(Remote().size(), before + 1);
  }
}

// --- deadlines ----------------------------------------------------------------------------------

TEST_F(AttemptsTest, Deadline_EndsWhatHasNoCreateOut) {
  vault_.Put("one", kData);
  Fail(Op::kOauth2Start, Fault::kHtml500, kAlways);
  Fail(Op::kList, Fault::kHtml500, kAlways);
  Order order = OrderOf("sheet");
  order.deadline_s = 60;
  auto fresh = TryAuthorize(order);
  ASSERT_TRUE(fresh);
  auto stored = attempts_->Connect(vault_.PermitFor(Right::kConnect), order, fakes::SetupAct());
  ASSERT_TRUE(stored);
  const AttemptId unclear = Leave(AttemptState::kUnclear);
  Go();
  now_s_ += 59;
  AwaitTrue([&] { return Requests("oauth2_start") > 1 && Requests("list") > 3; });
  EXPECT_EQ(attempts_->OpenCount(), 3u);
  now_s_ += 1;
  EXPECT_EQ(AwaitFailure(fresh->row.id), "timed_out");
  EXPECT_EQ(AwaitFailure(stored->row.id), "timed_out");
  now_s_ += kMaxDeadlineS;
  const int lists = Requests("list");
  AwaitTrue([&] { return Requests("list") > lists + 1; });
  EXPECT_EQ(Row(unclear).row.state, AttemptState::kUnclear);
}

TEST_F(AttemptsTest, Deadline_IsADayBehindTheLinksEnd) {
  EXPECT_EQ(Row(Authorize()).row.deadline_s, fakes::kVaultNow + kDefaultValidityS + 86'400);
  vault_.Put("one", kData);
  EXPECT_EQ(Row(Connect()).row.deadline_s, fakes::kVaultNow + 86'400);
}

// --- credentials that were lost on their way ----------------------------------------------------

TEST_F(AttemptsTest, Credentials_LostOnTheirWayEndTheAttemptAndANewLinkGoesOn) {
  for (const fakes::ReplyForm again :
       {fakes::ReplyForm::kNotFound, fakes::ReplyForm::kBadRequest,
        fakes::ReplyForm::kOkWithErrorCode}) {
    standin_->SetKnobs({.read_again = again, .credentials_once = true});
    New();
    const AttemptId id = Authorize("sheet");
    Go();
    Await(id, AttemptState::kStarted);
    AwaitTrue([&] { return Row(id).row.asked; });
    // Always: a single fault might meet a poll that left before the consent.
    Fail(Op::kOauth2Fetch, Fault::kResetAfterCommit, kAlways);
    Consent(id);
    AwaitTrue([&] { return standin_->State().at("attempts").back().at("reads") == 1; });
    standin_->ClearFaults();
    const storage::Attempt lost = Await(id, AttemptState::kFailed);
    EXPECT_EQ(lost.failure, "lost_in_transit");
    const AttemptId next = *AttemptId::Parse(lost.successor);
    EXPECT_EQ(Row(next).row.predecessor, id.Str());
    EXPECT_EQ(Row(next).row.connection_name, "sheet");
    EXPECT_FALSE(Row(id).sealed.Has(crypto::Part::kData));
    Consent(next);
    Await(next, AttemptState::kCreated);
  }
}

TEST_F(AttemptsTest, Credentials_LostByAKillAreNoticedAtTheNextStart) {
  standin_->SetKnobs({.credentials_once = true});
  New();
  const AttemptId id = Authorize();
  Go();
  AwaitTrue([&] { return Row(id).row.asked; });
  Fail(Op::kOauth2Fetch, Fault::kSlowDrip, kAlways, milliseconds(2));
  Consent(id);
  AwaitTrue([&] { return standin_->State().at("attempts")[0].at("reads") == 1; });
  // As a kill: what this daemon is about to commit never comes.
  vault_.Memory().FailNextCommit(Error(Code::kConflict, "the fake stands for a kill in a fetch"));
  attempts_->Stop();
  standin_->ClearFaults();
  New();
  Go();
  const storage::Attempt lost = Await(id, AttemptState::kFailed);
  EXPECT_EQ(lost.failure, "lost_in_transit");
  const AttemptId next = *AttemptId::Parse(lost.successor);
  Await(next, AttemptState::kStarted);
}

TEST_F(AttemptsTest, Credentials_ThatCanBeReadAgainAreNotLost) {
  const AttemptId id = Authorize();
  Go();
  Await(id, AttemptState::kStarted);
  Fail(Op::kOauth2Fetch, Fault::kResetAfterCommit, 3);
  Consent(id);
  Await(id, AttemptState::kStored);
}

TEST_F(AttemptsTest, Refusal_AfterAClearAnswerIsNoLoss) {
  const AttemptId id = Authorize();
  Go();
  AwaitTrue([&] { return Row(id).row.asked; });
  Fail(Op::kOauth2Fetch, Fault::kResetBeforeCommit);
  const int fetches = Requests("oauth2_fetch");
  AwaitTrue([&] { return Requests("oauth2_fetch") > fetches + 3; });  // answered as pending since
  Consent(id, fakes::Decision::kDeny);
  const storage::Attempt refused = Await(id, AttemptState::kFailed);
  EXPECT_EQ(refused.failure, "refused");
  EXPECT_EQ(refused.successor, "");
}

TEST_F(AttemptsTest, Restart_BehindTheLinksEndLooksOnceMore) {
  const AttemptId id = Authorize();
  Go();
  AwaitTrue([&] { return Row(id).row.asked; });
  const auto link = attempts_->GetLink(vault_.PermitFor(Right::kStore), id);
  attempts_->Stop();
  ASSERT_TRUE(standin_->Click(TextOf(link->auth_uri), fakes::Decision::kAllow));
  now_s_ += kDefaultValidityS + 1;
  New();
  Go();
  Await(id, AttemptState::kStored);
}

// --- resuming -----------------------------------------------------------------------------------

TEST_F(AttemptsTest, Resume_GivesANewLinkForOneThatExpired) {
  const auto resume = [&](const AttemptId& id) {
    return attempts_->Resume(vault_.PermitFor(Right::kStore), vault_.PermitFor(Right::kConnect),
                             id, fakes::SetupAct());
  };
  const AttemptId id = Authorize("sheet");
  Go();
  Await(id, AttemptState::kStarted);
  EXPECT_EQ(resume(id)->row.id, id);  // goes on as it is
  now_s_ += kDefaultValidityS;
  EXPECT_EQ(AwaitFailure(id), "expired");
  EXPECT_EQ(CodeOf(attempts_->Resume(vault_.PermitFor(Right::kStore), std::nullopt, id,
                                     fakes::SetupAct())),
            "DENIED");
  const auto next = resume(id);
  ASSERT_TRUE(next) << next.error().Message();
  EXPECT_EQ(next->row.predecessor, id.Str());
  EXPECT_EQ(Row(id).row.successor, next->row.id.Str());
  EXPECT_EQ(resume(id)->row.id, next->row.id);  // once
  Consent(next->row.id);
  Await(next->row.id, AttemptState::kCreated);
  EXPECT_EQ(CodeOf(resume(id)), "STALE");  // there is nothing left to go on with
  EXPECT_EQ(Remote().size(), 1u);
}

TEST_F(AttemptsTest, Resume_PutsNothingUnderAProjectThatIsBeingRemoved) {
  storage::Attempt row = Row(Leave(AttemptState::kFailed)).row;
  row.authorize = true;
  row.connect = false;
  row.failure = "expired";
  storage::Batch batch(fakes::SetupAct());
  batch.Replace(row, 1);
  ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  const auto resume = [&] {
    return CodeOf(attempts_->Resume(vault_.PermitFor(Right::kStore), std::nullopt, row.id,
                                    fakes::SetupAct()));
  };
  {
    const auto removing = vault_.Store().Claims().ToRemove("acme");
    ASSERT_TRUE(removing);
    EXPECT_EQ(resume(), "CONFLICT");
  }
  EXPECT_EQ(resume(), "OK");
}

TEST_F(AttemptsTest, Resume_IsForWhatMayBeHadAgainOnly) {
  vault_.Put("one", kData);
  for (const Reason& reason : Reasons()) {
    for (const bool authorize : {true, false}) {
      const AttemptId id = Leave(AttemptState::kFailed);
      auto left = Row(id);
      left.row.failure = reason.word;
      left.row.authorize = authorize;
      storage::Batch batch(fakes::SetupAct());
      batch.Replace(left.row, left.version);
      ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
      EXPECT_EQ(CodeOf(attempts_->Resume(vault_.PermitFor(Right::kStore),
                                         vault_.PermitFor(Right::kConnect), id,
                                         fakes::SetupAct())),
                reason.resumable && authorize ? "OK" : "STALE")
          << reason.word;
    }
  }
  EXPECT_EQ(CodeOf(attempts_->Resume(vault_.PermitFor(Right::kStore, "other"), std::nullopt,
                                     *AttemptId::Parse("left-1"), fakes::SetupAct())),
            "NOT_FOUND");
}

// --- the budget of calls ------------------------------------------------------------------------

class Budget : public AttemptsTest {
 protected:
  /// An attempt on a budget of so many calls a minute, whose minute does not pass by itself.
  void Allowing(unsigned calls) {
    attempts_.reset();
    budget_.emplace(calls, [this] { return Steady::time_point(milliseconds(steady_ms_.load())); });
    Drive();
  }
  void Drive() {
    attempts_.reset();
    attempts_ = std::make_unique<Attempts>(client_, *budget_, vault_.Store(), vault_.Grants(),
                                           vault_.Trail(), fakes::ReadPrincipal,
                                           settings_, [this] { return now_s_.load(); });
  }
  void TearDown() override {
    AttemptsTest::TearDown();
    budget_.reset();
  }

  std::atomic<std::int64_t> steady_ms_ = 1'000'000'000;
  std::optional<Rate> budget_;
};

TEST_F(Budget, Calls_BeyondItWait) {
  vault_.Put("one", kData);
  Allowing(3);
  const AttemptId first = Connect("first");  // the list, the create
  const AttemptId second = Connect("second");
  Go();
  AwaitTrue([&] {
    return attempts_->WaitingFor(first) == Waiting::kCalls ||
           attempts_->WaitingFor(second) == Waiting::kCalls;
  });
  AwaitTrue([&] { return attempts_->OpenCount() == 1; });
  EXPECT_EQ(AllRequests(), 2);
  EXPECT_EQ(Remote().size(), 1u);
}

TEST_F(Budget, LastLook_IsOwedToAPendingAttemptWhateverElseWasCalled) {
  Allowing(60);
  const AttemptId id = Authorize();
  Go();
  AwaitTrue([&] { return Requests("oauth2_fetch") > 0; });
  attempts_->Stop();
  watches_.clear();
  now_s_ += kDefaultValidityS - 100;
  budget_->KeepForLastLooks(account_, 1);
  while (auto turn = budget_->Take(account_, Purpose::kOnward)) turn->Spend();
  const int fetches = Requests("oauth2_fetch");
  Drive();
  Go();
  AwaitTrue([&] { return Requests("oauth2_fetch") == fetches + 1; });
  AwaitTrue([&] { return attempts_->WaitingFor(id) == Waiting::kConsent; });
  EXPECT_FALSE(budget_->Take(account_, Purpose::kLastLook));
}

TEST_F(Budget, Starts_BeyondWhatLastLooksCanServeWaitInNew) {
  Allowing(15);  // 5 last looks a minute; in the 3 minutes before the end of an hour, 15
  for (int i = 0; i < 20; ++i) {
    auto row = TryAuthorize(OrderOf(""));
    ASSERT_TRUE(row);
  }
  Go();
  const auto started = [&] { return Requests("oauth2_start"); };
  while (started() < 15) {
    steady_ms_ += 60'000;
    std::this_thread::sleep_for(milliseconds(5));
  }
  steady_ms_ += 60'000;
  EXPECT_EQ(started(), 15);
  EXPECT_EQ(attempts_->OpenCount(), 20u);
}

// --- cancelling ---------------------------------------------------------------------------------

TEST_F(AttemptsTest, Cancel_EndsWhatHasNotCreatedYetAndNothingElse) {
  const auto cancel = [&](const AttemptId& id) {
    return CodeOf(attempts_->Cancel(vault_.PermitFor(Right::kStore), id, fakes::SetupAct()));
  };
  vault_.Put("one", kData);
  const AttemptId fresh = Authorize();
  EXPECT_EQ(CodeOf(attempts_->Cancel(vault_.PermitFor(Right::kStore, "other"), fresh,
                                     fakes::SetupAct())),
            "NOT_FOUND");
  EXPECT_EQ(cancel(fresh), "OK");
  EXPECT_EQ(Row(fresh).row.state, AttemptState::kFailed);
  EXPECT_EQ(Row(fresh).row.failure, "cancelled");
  EXPECT_EQ(cancel(fresh), "STALE");  // failed
  const AttemptId stored = Connect();
  EXPECT_EQ(cancel(stored), "OK");
  EXPECT_EQ(cancel(Leave(AttemptState::kCreating)), "STALE");
  EXPECT_EQ(cancel(Leave(AttemptState::kUnclear)), "STALE");
  EXPECT_EQ(cancel(Leave(AttemptState::kCreated)), "STALE");
  EXPECT_EQ(cancel(*AttemptId::Parse("none")), "NOT_FOUND");
  EXPECT_EQ(attempts_->OpenCount(), 0u);

  New();
  const AttemptId started = Authorize();
  Go();
  Await(started, AttemptState::kStarted);
  EXPECT_EQ(cancel(started), "OK");
  EXPECT_FALSE(Row(started).sealed.Has(crypto::Part::kData));
  const AttemptId authorized = Authorize();
  Consent(authorized);
  Await(authorized, AttemptState::kStored);
  EXPECT_EQ(cancel(authorized), "STALE");
}

TEST_F(AttemptsTest, Cancel_ThatMeetsTheDriverEitherEndsTheAttemptOrIsStale) {
  vault_.Put("one", kData);
  Go();
  std::size_t created = 0;
  for (int i = 0; i < 40; ++i) {
    const AttemptId id = Connect("sheet" + std::to_string(i));
    std::this_thread::sleep_for(std::chrono::microseconds(100 * i));
    const std::string code =
        CodeOf(attempts_->Cancel(vault_.PermitFor(Right::kConnect), id, fakes::SetupAct()));
    if (code == "OK") {
      EXPECT_EQ(AwaitFailure(id), "cancelled");
    } else {
      EXPECT_EQ(code, "STALE");
      Await(id, AttemptState::kCreated);
      ++created;
    }
  }
  EXPECT_EQ(Remote().size(), created);
  AwaitTrue([&] { return attempts_->OpenCount() == 0; });  // counted behind the commit
}

TEST_F(AttemptsTest, Driver_PassesOverAnAttemptThatEndedBeforeItLooked) {
  const AttemptId id = Authorize();
  storage::Attempt ended = Row(id).row;
  ended.state = AttemptState::kFailed;
  storage::Batch batch(fakes::SetupAct());
  batch.Replace(ended, 1);
  ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  Allow({"other"});  // and the account is away, too
  Go();
  AwaitTrue([&] { return attempts_->OpenCount() == 0; });
  EXPECT_EQ(Row(id).version, 2u);
}

// --- rights -------------------------------------------------------------------------------------

TEST_F(AttemptsTest, Grants_TakenBeforeTheConsentLeaveNothingStored) {
  const AttemptId id = Authorize("sheet");
  Go();
  Await(id, AttemptState::kStarted);
  const auto link = attempts_->GetLink(vault_.PermitFor(Right::kStore), id);
  ASSERT_TRUE(link);
  vault_.Revoke();
  EXPECT_EQ(AwaitFailure(id), "not_permitted");
  standin_->Click(TextOf(link->auth_uri), fakes::Decision::kAllow);
  EXPECT_EQ(DataOf(), "");
  EXPECT_EQ(standin_->State().at("attempts")[0].at("reads"), 0);
  EXPECT_EQ(vault_.Acts().back(), "attempt.end failed not_permitted");
}

TEST_F(AttemptsTest, Grants_TakenWhileTheCredentialsAreFetchedLeaveNothingStored) {
  const AttemptId id = Authorize();
  Go();
  Await(id, AttemptState::kStarted);
  // The answer drips so slowly that the grant is gone before it is whole.
  Fail(Op::kOauth2Fetch, Fault::kSlowDrip, kAlways, milliseconds(2));
  Consent(id);
  AwaitTrue([&] { return standin_->State().at("attempts")[0].at("reads") > 0; });
  vault_.Revoke();
  EXPECT_EQ(AwaitFailure(id), "not_permitted");
  EXPECT_EQ(DataOf(), "");
}

TEST_F(AttemptsTest, Grants_TakenBeforeTheStartSendNothing) {
  const AttemptId id = Authorize();
  vault_.Revoke();
  Go();
  EXPECT_EQ(AwaitFailure(id), "not_permitted");
  EXPECT_EQ(AllRequests(), 0);
}

TEST_F(AttemptsTest, Grants_TakenBeforeTheCreateSendNothing) {
  vault_.Put("one", kData);
  const AttemptId id = Connect();
  vault_.Revoke();
  Go();
  EXPECT_EQ(AwaitFailure(id), "not_permitted");
  EXPECT_EQ(AllRequests(), 0);
}

TEST_F(AttemptsTest, Grants_ForStoreAloneStoreAndDoNotConnect) {
  const AttemptId id = Authorize("sheet");
  Go();
  Await(id, AttemptState::kStarted);
  vault_.Grant({Right::kStore});
  Consent(id);
  EXPECT_EQ(AwaitFailure(id), "not_permitted");
  EXPECT_NE(DataOf(), "");
  EXPECT_EQ(Requests("create"), 0);
  EXPECT_EQ(Requests("list"), 0);
}

TEST_F(AttemptsTest, Account_ThatIsTakenAwayEndsWhatHasNotCreated) {
  vault_.Put("one", kData);
  const AttemptId fresh = Authorize();
  const AttemptId stored = Connect();
  Allow({"other"});
  Go();
  EXPECT_EQ(AwaitFailure(fresh), "no_account");
  EXPECT_EQ(AwaitFailure(stored), "no_account");
  EXPECT_EQ(AllRequests(), 0);
}

TEST_F(AttemptsTest, Account_ThatIsTakenAwayDoesNotEndAnUnclearCreate) {
  vault_.Put("one", kData);
  const std::string made = MakeRemotely("sheet");
  const AttemptId id = Leave(AttemptState::kCreating);
  Allow({"other"});
  Go();
  Await(id, AttemptState::kUnclear);
  const std::uint64_t reads = vault_.Engine().ReadCount();
  AwaitTrue([&] { return vault_.Engine().ReadCount() > reads + 8; });
  EXPECT_EQ(Row(id).row.state, AttemptState::kUnclear);
  Allow({"acme"});
  EXPECT_EQ(Await(id, AttemptState::kCreated).connection_id, made);
}

TEST_F(AttemptsTest, Component_ThatIsGoneEndsTheAttempt) {
  const AttemptId id = Authorize();
  auto component =
      vault_.Store().Get<storage::Component>(storage::Component::Names(vault_.component));
  ASSERT_TRUE(component);
  storage::Batch batch(fakes::SetupAct());
  batch.Remove(component->row, component->version);
  ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  Go();
  EXPECT_EQ(AwaitFailure(id), "component_gone");
}

// --- the store fails ----------------------------------------------------------------------------

TEST_F(AttemptsTest, Outages_OfTheStoreEndNothing) {
  const auto outage = [&] {
    vault_.Memory().FailReads(Error(Code::kUnavailable, "the fake cannot be read for now"));
    const std::uint64_t reads = vault_.Engine().ReadCount();
    AwaitTrue([&] { return vault_.Engine().ReadCount() > reads + 3; });
    vault_.Memory().FailReads(std::nullopt);
  };
  const AttemptId id = Authorize("sheet");
  Fail(Op::kOauth2Start, Fault::kHtml500, 3);
  Fail(Op::kList, Fault::kHtml500, kAlways);
  Go();
  outage();
  Await(id, AttemptState::kStarted);
  outage();
  Consent(id);
  Await(id, AttemptState::kStored);
  outage();
  standin_->ClearFaults();
  Await(id, AttemptState::kCreated);
  EXPECT_EQ(Remote().size(), 1u);
}

TEST_F(AttemptsTest, Outages_OfTheStoreInTheMiddleOfAStepEndNothing) {
  vault_.Put("one", kData);
  const AttemptId id = Connect();
  vault_.HoldTrail(true);
  const std::uint64_t syncs = vault_.Syncs();
  Go();
  AwaitTrue([&] { return vault_.Syncs() > syncs; });
  // The attempt was read; what comes next, its credentials, cannot be.
  vault_.Memory().FailReads(Error(Code::kUnavailable, "the fake cannot be read any more"));
  vault_.HoldTrail(false);
  const std::uint64_t reads = vault_.Engine().ReadCount();
  AwaitTrue([&] { return vault_.Engine().ReadCount() > reads + 1; });
  vault_.Memory().FailReads(std::nullopt);
  Await(id, AttemptState::kCreated);
  EXPECT_EQ(Remote().size(), 1u);
}

TEST_F(AttemptsTest, Credentials_ThatCanBeReadOnceOutliveACommitThatFails) {
  for (const Code code : {Code::kUnavailable, Code::kConflict, Code::kExhausted}) {
    standin_->SetKnobs({.credentials_once = true});
    New();
    const AttemptId id = Authorize();
    Go();
    Await(id, AttemptState::kStarted);
    vault_.Memory().FailNextCommit(Error(code, "the fake refuses the commit of credentials"));
    Consent(id);
    Await(id, AttemptState::kStored);
    EXPECT_EQ(standin_->State().at("attempts").back().at("reads"), 1);
    EXPECT_EQ(DataOf(), standin_->State().at("attempts").back().at("credentials").dump());
  }
}

TEST_F(AttemptsTest, Credentials_ThatCanBeReadOnceReplaceDamagedOnes) {
  standin_->SetKnobs({.credentials_once = true});
  const auto before = vault_.Put("one", kData);
  Replace(before.key, vault_.Put("other", kData).sealed);
  const AttemptId id = Authorize();
  Go();
  Consent(id);
  Await(id, AttemptState::kStored);
  EXPECT_EQ(DataOf(), standin_->State().at("attempts").back().at("credentials").dump());
}

TEST_F(AttemptsTest, Credentials_ThatCanBeReadOnceOutliveADamagedRowThatTheyNeed) {
  standin_->SetKnobs({.credentials_once = true});
  const auto get = [&](const ComponentId& id) {
    return *vault_.Store().Get<storage::Component>(storage::Component::Names(id));
  };
  const auto component = get(vault_.component);
  const AttemptId id = Authorize();
  Go();
  Await(id, AttemptState::kStarted);
  Replace(component.key, get(vault_.plain_component).sealed);
  Consent(id);
  AwaitTrue([&] { return standin_->State().at("attempts").back().at("reads") == 1; });
  AwaitTrue([&] { return attempts_->WaitingFor(id) == Waiting::kRivery; });
  Replace(component.key, component.sealed);
  Await(id, AttemptState::kStored);
  EXPECT_EQ(DataOf(), standin_->State().at("attempts").back().at("credentials").dump());
}

TEST_F(AttemptsTest, Credentials_ThatAreGoneOrUnreadableEndAConnect) {
  vault_.Put("one", kData);
  const AttemptId gone = Connect();
  ASSERT_TRUE(custody::Delete(vault_.PermitFor(Right::kStore), TestVault::IdOf("one"),
                              fakes::SetupAct(), vault_.Store()));
  Go();
  EXPECT_EQ(AwaitFailure(gone), "credentials_gone");

  New();
  vault_.Put("one", "[1]");
  const AttemptId no_object = Connect();
  Go();
  EXPECT_EQ(AwaitFailure(no_object), "credentials_no_object");

  // From the end of the row: #data, or the meta part before it.
  for (const std::size_t from_end : {std::size_t{0}, kData.size() + 16 + 20}) {
    New();
    const auto stored = vault_.Put("one", kData);
    const AttemptId damaged = Connect();
    std::vector<std::uint8_t> bytes(stored.sealed.Bytes().begin(), stored.sealed.Bytes().end());
    bytes[bytes.size() - 1 - from_end] ^= 1;
    std::vector<storage::Change> changes;
    changes.push_back({stored.key, {}, *crypto::SealedRow::Parse(bytes)});
    ASSERT_TRUE(vault_.Engine().Commit(std::move(changes), fakes::SetupActBytes()));
    Go();
    EXPECT_EQ(AwaitFailure(damaged), "credentials_unreadable");
    changes.clear();
    changes.push_back({stored.key, {}, std::nullopt});
    ASSERT_TRUE(vault_.Engine().Commit(std::move(changes), fakes::SetupActBytes()));
  }
  EXPECT_EQ(Requests("create"), 0);
}

// --- one create ---------------------------------------------------------------------------------

struct LostReply {
  Fault fault;
  std::string_view path;
};

class LostReplies : public AttemptsTest, public testing::WithParamInterface<LostReply> {};

TEST_P(LostReplies, LeaveExactlyOneConnection) {
  vault_.Put("one", kData);
  settings_.settle_time = milliseconds(1'500);  // longer than what comes late
  New();
  Fail(Op::kCreate, GetParam().fault, 1, milliseconds(300));
  const AttemptId id = Connect();
  Go();
  const storage::Attempt created = Await(id, AttemptState::kCreated);
  ExpectPath(GetParam().path);
  ASSERT_EQ(Remote().size(), 1u);
  EXPECT_EQ(Remote()[0].at("_id"), created.connection_id);
  EXPECT_EQ(Remote()[0].at("writes"), 1);
  const auto connection = vault_.Store().Get<storage::Connection>(storage::Connection::Names(
      vault_.project, vault_.component, account_, created.connection_id));
  ASSERT_TRUE(connection);
  // What was adopted is not known to be in step.
  EXPECT_EQ(connection->row.written_version, Requests("create") == 1 ? 0u : 1u);
}

constexpr std::string_view kAdopted = "creating unclear created";
constexpr std::string_view kSentAgain = "creating unclear stored creating created";
INSTANTIATE_TEST_SUITE_P(
    ToACreate, LostReplies,
    testing::Values(LostReply{Fault::kCommitThenDrop, kAdopted},
                    LostReply{Fault::kCommitThen502, kAdopted},
                    LostReply{Fault::kResetAfterCommit, kAdopted},
                    LostReply{Fault::kDropThenCommitLate, kAdopted},
                    LostReply{Fault::kTruncatedJson, kAdopted},
                    LostReply{Fault::kWrongContentLength, kAdopted},
                    LostReply{Fault::kResetBeforeCommit, kSentAgain},
                    LostReply{Fault::kHtml502, kSentAgain}),
    [](const auto& row) { return std::string(fakes::RowOf(row.param.fault).name); });

TEST_F(AttemptsTest, Create_NeverAdoptsWhatBoreTheNameBefore) {
  vault_.Put("one", kData);
  const std::string foreign = MakeRemotely("sheet");
  Fail(Op::kCreate, Fault::kResetBeforeCommit);
  const AttemptId id = Connect();
  Go();
  const storage::Attempt created = Await(id, AttemptState::kCreated);
  EXPECT_NE(created.connection_id, foreign);
  const fakes::Json remote = Remote();
  ASSERT_EQ(remote.size(), 2u);
  EXPECT_EQ(remote[0].at("_id"), foreign);
  EXPECT_EQ(remote[0].at("writes"), 1);
  EXPECT_EQ(remote[0].at("credentials").at("a"), 1);
  EXPECT_EQ(remote[1].at("_id"), created.connection_id);
}

TEST_F(AttemptsTest, Create_ThatComesWhileItIsSentAgainIsAdopted) {
  vault_.Put("one", kData);
  Fail(Op::kCreate, Fault::kResetBeforeCommit);
  const AttemptId id = Connect();
  // As soon as the attempt is to be sent again, the list fails for a while; meanwhile the first
  // create is carried out after all.
  std::atomic<bool> again = false;
  const auto watch = attempts_->Subscribe(id, [&](const storage::Attempt& row) {
    if (row.state != AttemptState::kStored || again) return;
    Fail(Op::kList, Fault::kHtml500, kAlways);
    again = true;
  });
  Go();
  AwaitTrue([&] { return again.load(); });
  const std::string late = MakeRemotely("sheet");
  standin_->ClearFaults();
  EXPECT_EQ(Await(id, AttemptState::kCreated).connection_id, late);
  EXPECT_EQ(Remote().size(), 1u);
}

TEST_F(AttemptsTest, Create_StopsWhereSeveralMayBeIt) {
  vault_.Put("one", kData);
  const std::string before = MakeRemotely("sheet");
  MakeRemotely("sheet");
  MakeRemotely("sheet");
  const AttemptId id = Leave(AttemptState::kUnclear, "sheet", {before});
  Go();
  EXPECT_EQ(AwaitFailure(id), "several_found");
  EXPECT_EQ(Requests("create"), 3);
  EXPECT_EQ(vault_.Acts(), (Acts{"attempt.end failed several_found"}));
}

TEST_F(AttemptsTest, Create_AdoptsNothingThatTheVaultHoldsAlready) {
  vault_.Put("one", kData);
  const AttemptId first = Connect();
  Go();
  const std::string held = Await(first, AttemptState::kCreated).connection_id;
  New();
  const AttemptId second = Leave(AttemptState::kUnclear);
  Go();
  const std::string own = Await(second, AttemptState::kCreated).connection_id;
  EXPECT_NE(own, held);
  EXPECT_EQ(Remote().size(), 2u);
}

TEST_F(AttemptsTest, Create_OfOneNameIsOneAtATime) {
  vault_.Put("one", kData);
  Fail(Op::kCreate, Fault::kCommitThenDrop, 2);
  Fail(Op::kCreate, Fault::kResetBeforeCommit, 2);
  std::vector<AttemptId> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(Connect());
  Go();
  std::set<std::string> created;
  for (const AttemptId& id : ids) created.insert(Await(id, AttemptState::kCreated).connection_id);
  EXPECT_EQ(created.size(), 4u);
  EXPECT_EQ(Remote().size(), 4u);
}

TEST_F(AttemptsTest, Create_ThatIsRefusedEndsOrWaitsByTheReason) {
  vault_.Put("one", kData);
  for (const Fault fault : {Fault::kOkWithCode402, Fault::kRedirectElsewhere}) {
    New();
    Fail(Op::kCreate, fault);
    const AttemptId id = Connect();
    Go();
    EXPECT_EQ(AwaitFailure(id), "refused") << fakes::RowOf(fault).name;
  }
  EXPECT_EQ(Remote().size(), 0u);
  EXPECT_EQ(standin_->State().at("elsewhere").at("requests"), 0);
  int count = 0;
  for (const Fault fault : {Fault::kForbidden, Fault::kRateLimited}) {
    New();
    Fail(Op::kCreate, fault, 2);
    const AttemptId id = Connect(fakes::RowOf(fault).name);
    Go();
    Await(id, AttemptState::kCreated);
    EXPECT_EQ(Remote().size(), static_cast<std::size_t>(++count));
  }
}

TEST_F(AttemptsTest, Create_WaitsAsLongAsRiveryAsks) {
  vault_.Put("one", kData);
  standin_->AddFault({.operation = Op::kCreate,
                      .fault = Fault::kRateLimitedRetryAfter,
                      .retry_after = seconds(1)});
  const AttemptId id = Connect();
  const auto began = Steady::now();
  Go();
  Await(id, AttemptState::kCreated);
  EXPECT_GE(Steady::now() - began, seconds(1));
  EXPECT_EQ(Remote().size(), 1u);
  EXPECT_EQ(Requests("create"), 2);
}

TEST_F(AttemptsTest, Create_WhoseReplyCannotBeKeptIsFoundAgain) {
  vault_.Put("one", kData);
  const AttemptId id = Connect();
  const auto watch = attempts_->Subscribe(id, [&](const storage::Attempt& row) {
    if (row.state != AttemptState::kCreating) return;
    vault_.Memory().FailNextCommit(Error(Code::kUnavailable, "the fake loses the create's reply"));
  });
  Go();
  const storage::Attempt created = Await(id, AttemptState::kCreated);
  ExpectPath(kAdopted);
  ASSERT_EQ(Remote().size(), 1u);
  EXPECT_EQ(Remote()[0].at("_id"), created.connection_id);
}

TEST_F(AttemptsTest, SettleTime_IsNotTheWallClocks) {
  vault_.Put("one", kData);
  settings_.settle_time = std::chrono::hours(1);
  New();
  Fail(Op::kCreate, Fault::kResetBeforeCommit);
  const AttemptId id = Connect();
  Go();
  Await(id, AttemptState::kUnclear);
  now_s_ += 100'000;  // somebody sets the clock
  const int lists = Requests("list");
  AwaitTrue([&] { return Requests("list") > lists + 3; });
  EXPECT_EQ(Row(id).row.state, AttemptState::kUnclear);
  EXPECT_EQ(Requests("create"), 1);
}

// --- the trail ----------------------------------------------------------------------------------

TEST_F(AttemptsTest, Lines_TellEachSendAndEachChangeOfState) {
  const AttemptId id = Authorize("sheet");
  Go();
  Consent(id);
  const std::string connection = Await(id, AttemptState::kCreated).connection_id;
  AwaitTrue([&] { return vault_.Acts().size() >= 7; });
  EXPECT_EQ(vault_.Acts(), (Acts{"attempt.start allowed", "attempt.started allowed",
                                 "attempt.fetch allowed", "attempt.store allowed",
                                 "attempt.create allowed", "attempt.creating allowed",
                                 "attempt.created allowed"}));
  const auto lines = vault_.Lines();
  for (const nlohmann::json& line : lines) {
    EXPECT_EQ(line.at("principal"), fakes::kRunner);
    EXPECT_EQ(line.at("project"), "acme");
    EXPECT_EQ(line.at("component"), "sheets");
    EXPECT_EQ(line.at("oauth_id"), "one");
    EXPECT_EQ(line.at("peer"), "rivery");
    EXPECT_EQ(line.at("request_id"), id.Str());
  }
  EXPECT_EQ(lines[0].at("right"), "store");
  EXPECT_EQ(lines[1].at("object"), id.Str());
  EXPECT_EQ(lines[3].at("version"), 1);
  EXPECT_EQ(lines[4].at("right"), "connect");
  EXPECT_EQ(lines[4].at("version"), 1);
  EXPECT_EQ(lines[6].at("object"), connection);
  // What was sent stands where the commit before it does; each change of state is the next.
  const std::uint64_t ordered = lines[0].at("generation");
  const std::vector<std::uint64_t> behind = {0, 1, 2, 3, 3, 4, 5};
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].at("generation"), ordered + behind[i]) << i;
  }
}

TEST_F(AttemptsTest, Lines_StandForAConnectAloneAndForAnAdoption) {
  vault_.Put("one", kData);
  Fail(Op::kList, Fault::kHtml500, 2);
  Fail(Op::kCreate, Fault::kCommitThenDrop);
  const AttemptId id = Connect();
  Go();
  Await(id, AttemptState::kCreated);
  AwaitTrue([&] { return vault_.Acts().size() >= 5; });
  // One start, although the list was asked for three times.
  EXPECT_EQ(vault_.Acts(), (Acts{"attempt.start allowed", "attempt.create allowed",
                                 "attempt.creating allowed", "attempt.unclear allowed",
                                 "attempt.adopted allowed"}));
}

TEST_F(AttemptsTest, Lines_AreDurableBeforeAnythingLeaves) {
  vault_.Put("one", kData);
  const AttemptId authorize = Authorize();
  vault_.HoldTrail(true);
  const std::uint64_t syncs = vault_.Syncs();
  Go();
  AwaitTrue([&] { return vault_.Syncs() > syncs; });
  EXPECT_EQ(AllRequests(), 0);
  vault_.HoldTrail(false);
  Await(authorize, AttemptState::kStarted);
  EXPECT_GE(vault_.Acts().size(), 1u);

  attempts_->Stop();
  ASSERT_TRUE(attempts_->Cancel(vault_.PermitFor(Right::kStore), authorize, fakes::SetupAct()));
  New();
  const AttemptId connect = Connect();
  const int requests = AllRequests();
  vault_.HoldTrail(true);
  const std::uint64_t more_syncs = vault_.Syncs();
  Go();
  AwaitTrue([&] { return vault_.Syncs() > more_syncs; });
  EXPECT_EQ(AllRequests(), requests);
  vault_.HoldTrail(false);
  Await(connect, AttemptState::kCreated);
}

TEST_F(AttemptsTest, Trail_ThatCannotRecordLetsNothingLeave) {
  vault_.Put("one", kData);
  const AttemptId authorize = Authorize();
  const AttemptId connect = Connect();
  vault_.FailTrail(true);
  Go();
  vault_.AwaitSyncs(6);
  EXPECT_EQ(AllRequests(), 0);
  EXPECT_EQ(Row(authorize).row.state, AttemptState::kNew);
  EXPECT_EQ(Row(connect).row.state, AttemptState::kStored);
  vault_.FailTrail(false);
  Await(authorize, AttemptState::kStarted);
  Await(connect, AttemptState::kCreated);
}

TEST_F(AttemptsTest, Trail_ThatCannotRecordLetsNoCreateLeave) {
  vault_.Put("one", kData);
  Fail(Op::kList, Fault::kHtml500, kAlways);
  const AttemptId id = Connect();
  Go();
  AwaitTrue([&] { return Requests("list") > 1; });
  vault_.FailTrail(true);
  standin_->ClearFaults();
  vault_.AwaitSyncs(3);
  EXPECT_EQ(Requests("create"), 0);
  EXPECT_EQ(Row(id).row.state, AttemptState::kStored);
  vault_.FailTrail(false);
  Await(id, AttemptState::kCreated);
  EXPECT_EQ(Remote().size(), 1u);
}

TEST_F(AttemptsTest, Trail_ThatCannotTellOfCreatingLetsNoCreateLeave) {
  vault_.Put("one", kData);
  const AttemptId id = Connect();
  vault_.FailOneSyncAfter(2);  // attempt.start, attempt.create
  const auto watch = attempts_->Subscribe(id, [&](const storage::Attempt& row) {
    EXPECT_TRUE(row.state != AttemptState::kUnclear || Requests("create") == 0);
  });
  Go();
  Await(id, AttemptState::kCreated);
  // It stands at creating and may have been sent, for all that the row says: it is looked for.
  ExpectPath("creating unclear stored creating created");
  EXPECT_EQ(Requests("create"), 1);
  EXPECT_EQ(vault_.Acts(), (Acts{"attempt.start allowed", "attempt.create allowed",
                                 "attempt.creating allowed", "attempt.unclear allowed",
                                 "attempt.stored allowed", "attempt.create allowed",
                                 "attempt.creating allowed", "attempt.created allowed"}));
}

TEST_F(AttemptsTest, Trail_ThatCannotTellOfCredentialsKeepsThemAndTellsLater) {
  standin_->SetKnobs({.credentials_once = true});
  const AttemptId id = Authorize();
  Go();
  AwaitThat(id, [](const storage::Attempt& row) { return row.asked; });
  AwaitTrue([&] { return vault_.Acts().size() == 3; });
  vault_.FailOneSyncAfter(0);
  Consent(id);
  ExpectPath("started stored");
  AwaitTrue([&] { return attempts_->OpenCount() == 0; });
  EXPECT_EQ(standin_->State().at("attempts").back().at("reads"), 1);
  EXPECT_EQ(DataOf(), standin_->State().at("attempts").back().at("credentials").dump());
  EXPECT_EQ(vault_.Acts(), (Acts{"attempt.start allowed", "attempt.started allowed",
                                 "attempt.fetch allowed"}));
  CommitAnother();
  EXPECT_EQ(vault_.Acts().back(), "attempt.store allowed");
}

TEST_F(AttemptsTest, Trail_ThatCannotTellOfAnOrderDoesNotLoseIt) {
  vault_.FailTrail(true);
  EXPECT_EQ(CodeOf(TryAuthorize(OrderOf(""))), "UNAVAILABLE");
  EXPECT_EQ(attempts_->OpenCount(), 1u);
  const auto standing = vault_.Store().List<storage::Attempt>("acme", "", "", 10);
  ASSERT_TRUE(standing);
  ASSERT_EQ(standing->rows.size(), 1u);
  vault_.FailTrail(false);
  Go();
  Await(standing->rows[0].row.id, AttemptState::kStarted);
}

TEST_F(AttemptsTest, Order_ThatTheStoreRefusedIsForgotten) {
  vault_.Memory().FailNextCommit(Error(Code::kUnavailable, "the fake loses an order"));
  EXPECT_EQ(CodeOf(TryAuthorize(OrderOf(""))), "UNAVAILABLE");
  Go();
  AwaitTrue([&] { return attempts_->OpenCount() == 0; });
  EXPECT_EQ(AllRequests(), 0);
}

TEST_F(AttemptsTest, Trail_ThatCannotRecordLetsNoAttemptEndWithoutALine) {
  const AttemptId id = Authorize();
  Go();
  Await(id, AttemptState::kStarted);
  vault_.FailTrail(true);
  EXPECT_EQ(CodeOf(vault_.Grants().Remove(TestVault::Runner(), "acme", "sheets",
                                          fakes::SetupAct())),
            "UNAVAILABLE");
  vault_.AwaitSyncs(2);
  EXPECT_EQ(Row(id).row.state, AttemptState::kStarted);
  vault_.FailTrail(false);
  EXPECT_EQ(AwaitFailure(id), "not_permitted");
  AwaitTrue([&] { return attempts_->OpenCount() == 0; });
  EXPECT_EQ(vault_.Acts().back(), "attempt.end failed not_permitted");
}

TEST_F(AttemptsTest, Trail_ThatCannotTellOfAnEndTellsItBeforeAnythingElseIsCommitted) {
  const AttemptId id = Authorize();
  Go();
  Await(id, AttemptState::kStarted);
  vault_.FailTrail(true);
  now_s_ += kDefaultValidityS;
  ExpectPath("started failed");
  AwaitTrue([&] { return attempts_->OpenCount() == 0; });
  EXPECT_EQ(Row(id).row.failure, "expired");
  EXPECT_EQ(vault_.Acts().back(), "attempt.started allowed");
  vault_.FailTrail(false);
  CommitAnother();
  EXPECT_EQ(vault_.Acts().back(), "attempt.end failed expired");
}

TEST_F(AttemptsTest, Secrets_StandInNoLineOfTheTrail) {
  const AttemptId id = Authorize("sheet");
  Go();
  Consent(id);
  Await(id, AttemptState::kCreated);
  std::string lines;
  for (const nlohmann::json& line : vault_.Lines()) lines += line.dump();
  const fakes::Json attempt = standin_->State().at("attempts")[0];
  for (const std::string& secret :
       {std::string(kApiToken), attempt.at("pull_id").get<std::string>(),
        attempt.at("auth_uri").get<std::string>(),
        attempt.at("credentials").at("access_token").get<std::string>(),
        attempt.at("credentials").at("refresh_token").get<std::string>()}) {
    EXPECT_EQ(lines.find(secret), std::string::npos);
  }
}

// --- watching -----------------------------------------------------------------------------------

TEST_F(AttemptsTest, Watch_IsToldEachChangeUntilItEnds) {
  vault_.Put("one", kData);
  const AttemptId id = Connect("a");
  const AttemptId other = Connect("b");
  std::atomic<int> told = 0;
  auto watch = attempts_->Subscribe(id, [&](const storage::Attempt& row) {
    EXPECT_EQ(row.id, id);
    ++told;
  });
  Go();
  Await(id, AttemptState::kCreated);
  Await(other, AttemptState::kCreated);
  AwaitTrue([&] { return told == 2; });  // creating, created
  watch.reset();
  New();
  const AttemptId third = Connect("c");
  std::atomic<int> told_of_third = 0;
  auto ended = attempts_->Subscribe(third, [&](const storage::Attempt&) { ++told_of_third; });
  ended.reset();
  Go();
  Await(third, AttemptState::kCreated);
  EXPECT_EQ(told_of_third, 0);
}

// --- restarts -----------------------------------------------------------------------------------

class Restarts : public AttemptsTest {
 protected:
  Restarts() : AttemptsTest(TestVault::On::kDisk) {}
};

TEST_F(Restarts, InEachStateGoOn) {
  const AttemptId id = Authorize("sheet");
  Restart();  // new
  Watch(id);
  EXPECT_EQ(Row(id).row.state, AttemptState::kNew);
  Go();
  Await(id, AttemptState::kStarted);
  Restart();  // started
  Watch(id);
  Fail(Op::kList, Fault::kHtml500, kAlways);
  Go();
  Consent(id);
  Await(id, AttemptState::kStored);
  settings_.settle_time = std::chrono::hours(1);
  Restart();  // stored
  Watch(id);
  EXPECT_EQ(Row(id).row.state, AttemptState::kStored);
  standin_->ClearFaults();
  Fail(Op::kCreate, Fault::kResetBeforeCommit);
  Go();
  Await(id, AttemptState::kUnclear);
  settings_.settle_time = milliseconds(200);
  Restart();  // unclear
  Watch(id);
  Go();
  const storage::Attempt created = Await(id, AttemptState::kCreated);
  ExpectPath("started stored creating unclear stored creating created");
  ASSERT_EQ(Remote().size(), 1u);
  EXPECT_EQ(Remote()[0].at("_id"), created.connection_id);
  Restart();  // created
  Go();
  EXPECT_EQ(attempts_->OpenCount(), 0u);
  EXPECT_EQ(Row(id).row.state, AttemptState::kCreated);
}

TEST_F(Restarts, PassOverAttemptsThatDoNotOpenAndProjectsThatAreShredded) {
  const AttemptId damaged = Leave(AttemptState::kStored, "first");
  vault_.Put("one", kData);
  const AttemptId whole = Leave(AttemptState::kStored, "second");
  Replace(Row(damaged).key, Row(whole).sealed);
  auto other = vault_.Store().Get<storage::Project>(storage::Project::Names(vault_.other_project));
  ASSERT_TRUE(other);
  other->row.shredding_at_s = fakes::kVaultNow;
  storage::Batch batch(fakes::SetupAct());
  batch.Insert(storage::Attempt{vault_.other_project, vault_.component,
                                *AttemptId::Parse("shredded"), account_, TestVault::IdOf("one")});
  batch.Replace(other->row, other->version);
  ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  ASSERT_TRUE(vault_.Keys().RemoveOwner(crypto::Owner::Project("other")));
  Restart();
  Go();
  EXPECT_EQ(attempts_->OpenCount(), 1u);
  Await(whole, AttemptState::kCreated);
}

TEST_F(Restarts, InCreatingLookBeforeTheySend) {
  vault_.Put("one", kData);
  const AttemptId arrived = Leave(AttemptState::kCreating, "arrived");
  const AttemptId lost = Leave(AttemptState::kCreating, "lost");
  const std::string made = MakeRemotely("arrived");
  Restart();
  Watch(arrived);
  Fail(Op::kList, Fault::kHtml500, 2);
  Go();
  EXPECT_EQ(Await(arrived, AttemptState::kCreated).connection_id, made);
  Await(lost, AttemptState::kCreated);
  ExpectPath("unclear created");
  EXPECT_EQ(Remote().size(), 2u);
  EXPECT_EQ(Requests("create"), 2);  // the one above, and that of `lost`
  // Behind the create above, the first that the stand-in heard was a question.
  standin_->Stop();
  const std::string log = log_.str();
  const std::size_t second = log.find('\n') + 1;
  EXPECT_EQ(log.substr(second, 4), "GET ");
}

TEST_F(Restarts, InCreatingKeepWhatWasKnownBefore) {
  vault_.Put("one", kData);
  const std::string before = MakeRemotely("sheet");
  const AttemptId id = Leave(AttemptState::kCreating, "sheet", {before});
  Restart();
  Go();
  EXPECT_NE(Await(id, AttemptState::kCreated).connection_id, before);
  EXPECT_EQ(Remote().size(), 2u);
}

TEST_F(Restarts, KeepALinkThatExpiresWhileTheDaemonIsAway) {
  const AttemptId id = Authorize();
  Go();
  Await(id, AttemptState::kStarted);
  Restart();
  now_s_ += kDefaultValidityS;
  const int fetches = Requests("oauth2_fetch");
  Go();
  EXPECT_EQ(AwaitFailure(id), "expired");
  EXPECT_EQ(Requests("oauth2_fetch"), fetches);
}

TEST_F(Restarts, OfTheDriverInTheMiddleOfACallLoseNothing) {
  vault_.Put("one", kData);
  Fail(Op::kCreate, Fault::kCommitLate, 1, milliseconds(1'000));
  const AttemptId id = Connect();
  Go();
  Await(id, AttemptState::kCreating);
  attempts_->Stop();
  attempts_->Stop();
  EXPECT_EQ(Row(id).row.state, AttemptState::kCreated);
  EXPECT_EQ(Remote().size(), 1u);
}

}  // namespace
}  // namespace oauthvault::rivery
