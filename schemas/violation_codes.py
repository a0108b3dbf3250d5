"""The city's violation codes in a few plain words (after the DOF Parking Violation Codes, 1 to 99)."""

from typing import Final

NAMES: Final = {
    1: "Bus permit not shown", 2: "Operator's name not shown", 3: "Passengers picked up unlawfully",
    4: "Bus parked in Lower Manhattan", 5: "Bus lane (camera)", 6: "Tractor-trailer overnight",
    7: "Red light (camera)", 8: "Idling engine", 9: "Obstructing traffic", 10: "No stopping",
    11: "No standing: hotel loading", 12: "Bus lane (mobile camera)", 13: "No standing: taxi stand",
    14: "No standing", 15: "No standing: off-street lot", 16: "No standing: truck loading only",
    17: "No standing: authorized vehicles only", 18: "No standing: bus lane", 19: "No standing: bus stop",
    20: "No parking", 21: "No parking: street cleaning", 22: "No standing: taxi relief stand",
    23: "No parking: taxi stand", 24: "No parking: authorized vehicles only", 25: "No standing: commuter van stop",
    26: "No standing: for-hire stand", 27: "No parking: disability permit only", 28: "Diplomat standing too long",
    29: "Bus permit altered", 30: "No stopping: passenger pick-up only", 31: "No standing: commercial meter zone",
    32: "Overtime at a broken meter", 33: "Parking permit misused", 34: "Meter expired",
    35: "Selling from a metered place", 36: "School-zone speeding (camera)", 37: "Muni-meter expired",
    38: "No Muni-meter receipt", 39: "Longer than the posted time", 40: "Fire hydrant", 41: "Miscellaneous",
    42: "Muni-meter expired, commercial", 43: "Meter expired, commercial", 44: "Too long, commercial meter",
    45: "In a traffic lane", 46: "Double parking", 47: "Double parking, Midtown commercial", 48: "In a bike lane",
    49: "Beside an excavation", 50: "On a crosswalk", 51: "On a sidewalk", 52: "In an intersection",
    53: "In a safety zone", 54: "Pick-up in a forbidden zone", 55: "On a highway or in a tunnel",
    56: "On a divided highway", 57: "In the blue zone", 58: "On a marginal street or waterfront",
    59: "Angle parking, commercial", 60: "Angle parking", 61: "Facing the wrong way", 62: "Beyond the marked space",
    63: "At night in a park", 64: "No standing: consul only", 65: "Consul standing too long", 66: "Trailer detached",
    67: "At a pedestrian ramp", 68: "Against a posted sign", 69: "Meter receipt not shown",
    70: "Registration expired or missing", 71: "Inspection expired or missing", 72: "Inspection sticker damaged",
    73: "Registration sticker damaged", 74: "Plate missing", 75: "Plate and sticker differ",
    76: "Vehicle number hidden", 77: "Bus outside its area", 78: "Commercial vehicle at night, residential",
    79: "Bus layover", 80: "Equipment missing", 81: "No standing: diplomat only",
    82: "Commercial plates, vehicle unaltered", 83: "Registration improper", 84: "Lift platform lowered",
    85: "Commercial vehicle over 3 hours", 86: "Over 3 hours in Midtown", 87: "Permit fraudulent",
    88: "Commercial vehicle without a name", 89: "No standing: garment district trucks only",
    90: "Selling or repairing a vehicle", 91: "Vehicle for sale", 92: "Washing or repairing", 93: "Changing a tire",
    96: "On a railroad crossing", 97: "On a vacant lot", 98: "Blocking a driveway", 99: "Other",
}  # fmt: skip


def code_name(code: int) -> str:
    """``21 · No parking: street cleaning``; the number alone where the city has no such code."""
    return f"{code} · {NAMES[code]}" if code in NAMES else str(code)
