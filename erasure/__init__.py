"""The erasure code: any k of n pieces bring a segment back (PROTOCOL §2). Start at hippy.erasure.codec."""
