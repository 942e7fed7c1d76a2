"""The setting that holds the keys of stored credentials, for whoever seals them or opens them."""

from pydantic import Field, SecretStr, field_validator

from libs.runtime.settings import Settings
from libs.sealing import KeyRing, key_ring


class SealedSettings(Settings):
    """What a program reads that deals with stored credentials."""

    credential_keys: SecretStr | None = Field(
        default=None,
        description="Secret: seals the providers' keys that are stored in the catalog's tables. `ID:KEY,ID:KEY`, each "
        "KEY 32 bytes in base64; the first one seals, all of them open. Router and catalog share it; empty is off.",
    )

    @field_validator("credential_keys", mode="before")
    @classmethod
    def _no_keys(cls, value: object) -> object:
        return value or None

    @field_validator("credential_keys")
    @classmethod
    def _refuse_bad_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            key_ring(value.get_secret_value())
        return value

    def ring(self) -> KeyRing | None:
        return None if self.credential_keys is None else key_ring(self.credential_keys.get_secret_value())
