#pragma once

#include <span>
#include <string_view>

namespace oauthvault::fakes {

/// One property of a connection type. A secret one is of type `password`, and no GET returns it.
struct Property {
  std::string_view name;
  std::string_view type;  ///< `text`, `number` or `password`
  bool required = false;
};

/// One row of the catalogue.
struct ConnectionType {
  std::string_view connection_type;
  std::string_view datasource_id;  ///< differs from the type for some (`snowflake_src`)
  std::string_view title;
  bool oauth2;  ///< the consent flow exists for it
  std::span<const Property> properties;
};

/// All types that this server knows.
std::span<const ConnectionType> Catalogue();

/// The type of that name, or null.
const ConnectionType* FindType(std::string_view connection_type);

/// The type of that datasource id, or null.
const ConnectionType* FindDatasource(std::string_view datasource_id);

/// The property of that name, or null.
const Property* FindProperty(const ConnectionType& type, std::string_view name);

}  // namespace oauthvault::fakes
