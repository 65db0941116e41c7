#include "tests/fakes/rivery/catalogue.h"

#include <algorithm>
#include <array>

namespace oauthvault::fakes {
namespace {

// `description` is the one property in which a caller can leave a mark of its own. `fb` and
// `github` lack it on purpose: a client must also do without.
constexpr std::array kSheets = std::to_array<Property>({{"description", "text"}});
constexpr std::array kFacebook = std::to_array<Property>({{"api_version", "text"}});
constexpr std::array kSalesforce = std::to_array<Property>({
    {"description", "text"},
    {"instance_url", "text"},
    {"is_sandbox", "text"},
});
constexpr std::array kKlaviyo = std::to_array<Property>({
    {"description", "text"},
    {"private_key", "password"},
});
constexpr std::array kJira = std::to_array<Property>({
    {"description", "text"},
    {"domain", "text", true},
});
constexpr std::array kDatabase = std::to_array<Property>({
    {"description", "text"},
    {"host", "text", true},
    {"port", "number"},
    {"database", "text"},
    {"username", "text"},
    {"password", "password"},
    {"ssh_private_key", "password"},
});
constexpr std::array kSnowflake = std::to_array<Property>({
    {"description", "text"},
    {"account_name", "text"},
    {"warehouse", "text"},
    {"database", "text"},
    {"username", "text"},
    {"password", "password"},
    {"role", "text"},
});
constexpr std::array kBucket = std::to_array<Property>({
    {"description", "text"},
    {"access_key_id", "text"},
    {"secret_access_key", "password"},
    {"region", "text"},
});

constexpr std::array kCatalogue = std::to_array<ConnectionType>({
    {"gspreadsheet", "gspreadsheet", "Google Sheets", true, kSheets},
    {"fb", "fb", "Facebook Ads", true, kFacebook},
    {"klaviyo", "klaviyo", "Klaviyo", true, kKlaviyo},
    {"salesforce", "salesforce", "Salesforce", true, kSalesforce},
    {"github", "github", "GitHub", true, {}},
    {"jira", "jira", "Jira", true, kJira},
    {"snowflake", "snowflake_src", "Snowflake", true, kSnowflake},
    {"mysql", "mysql", "MySQL", false, kDatabase},
    {"postgres", "postgres", "PostgreSQL", false, kDatabase},
    {"mongodb", "mongodb", "MongoDB", false, kDatabase},
    {"s3", "s3", "Amazon S3", false, kBucket},
});

}  // namespace

std::span<const ConnectionType> Catalogue() { return kCatalogue; }

const ConnectionType* FindType(std::string_view connection_type) {
  const auto found =
      std::ranges::find(kCatalogue, connection_type, &ConnectionType::connection_type);
  return found == kCatalogue.end() ? nullptr : &*found;
}

const ConnectionType* FindDatasource(std::string_view datasource_id) {
  const auto found = std::ranges::find(kCatalogue, datasource_id, &ConnectionType::datasource_id);
  return found == kCatalogue.end() ? nullptr : &*found;
}

const Property* FindProperty(const ConnectionType& type, std::string_view name) {
  const auto found = std::ranges::find(type.properties, name, &Property::name);
  return found == type.properties.end() ? nullptr : &*found;
}

}  // namespace oauthvault::fakes
