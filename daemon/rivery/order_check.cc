#include "daemon/rivery/order_check.h"

#include <optional>
#include <string>
#include <utility>

#include "daemon/rivery/accounts.h"

namespace oauthvault::rivery {

Result<void> CheckOrder(const access::Permit& permit, const Order& order, storage::Act act,
                        const storage::Store& store, Catalogue& catalogue, audit::Trail& trail) {
  auto pair = permit.Where().AsPair();
  if (!pair) return Fail(std::move(pair));
  auto component = store.Get<storage::Component>(storage::Component::Names(pair->component));
  if (!component) return Fail(std::move(component));
  const std::string& datasource = component->row.rivery_datasource_id;
  const std::string& type = component->row.rivery_connection_type;
  if (datasource.empty() || type.empty()) return {};
  auto account = OpenAccountFor(store, order.account, pair->project);
  if (!account) return Fail(std::move(account));
  Catalogue::Names names{.connection_type = type, .datasource = std::nullopt};
  if (permit.What() == access::Right::kStore) names.datasource = datasource;
  return catalogue.Check(order.account, *account, names, [&]() -> Result<void> {
    audit::Entry entry{std::move(act)};
    entry.act = "catalogue.read";
    entry.object = order.account.Str();
    entry.outcome = audit::Outcome::kAllowed;
    auto recorded = trail.RecordAndWait(std::move(entry));
    if (!recorded) return Fail(std::move(recorded));
    return {};
  });
}

}  // namespace oauthvault::rivery
