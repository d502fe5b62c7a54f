"""The erasure code: any k of n pieces bring a segment back (DESIGN §5). Start at hippy.erasure.codec."""
