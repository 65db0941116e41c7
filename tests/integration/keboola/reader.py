"""Opens a data folder as a component does, with keboola.component, and tells what it found. Secrets
are told as their SHA-256: `oauthvault run` hides them where they are printed."""

import hashlib
import json
import sys

from keboola.component import CommonInterface


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def main():
    component = CommonInterface()
    credentials = component.configuration.oauth_credentials
    told = {"parameters": {key: digest(value) if key.startswith("#") else value
                           for key, value in component.configuration.parameters.items()},
            "tables_in": component.tables_in_path, "data_folder": component.data_folder_path}
    if credentials:
        told["id"] = credentials.id
        told["created"] = credentials.created
        told["oauth_version"] = credentials.oauthVersion
        told["app_key"] = credentials.appKey
        told["app_secret"] = digest(credentials.appSecret)
        # The library parses #data, which is a string that holds JSON.
        told["tokens"] = {key: digest(value) for key, value in credentials.data.items()}
    json.dump(told, sys.stdout, sort_keys=True)
    print()
    print(json.dumps(component.configuration.config_data), file=sys.stderr)


main()
