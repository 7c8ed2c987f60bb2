"""ISO 4217: the currencies in use and the exponent of each one's minor unit.

Source: ISO 4217 list one of the maintenance agency (SIX), with its amendments up to 180. Left out are the codes without
a minor unit: precious metals (XAU, XAG, XPD, XPT), bond market units (XBA to XBD), SDR, ADB and Sucre units (XDR, XUA,
XSU), XTS and XXX. BGN and ANG, withdrawn within the last two years, stay: refunds and chargebacks of payments in them
still arrive.
"""

from typing import Final

_BY_EXPONENT: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE "
        "CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL "
        "HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR "
        "MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK "
        "SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD "
        "XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

EXPONENTS: Final[dict[str, int]] = {
    code: exponent for exponent, codes in _BY_EXPONENT.items() for code in codes.split()
}
"""Currency code to the number of decimal digits of its minor unit."""

CODES: Final = 26**3
"""How many three-letter codes there are: the length of a table indexed by `code_index`."""


def code_index(currency: str) -> int:
    """Position of a three-letter upper-case code in a table of `CODES` entries, or -1 for any other text."""
    if len(currency) != 3 or not (currency.isascii() and currency.isalpha() and currency.isupper()):
        return -1
    first, second, third = (ord(letter) - 65 for letter in currency)
    return (first * 26 + second) * 26 + third
