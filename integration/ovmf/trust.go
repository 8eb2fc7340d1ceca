package ovmf

import "encoding/binary"

// Where UEFI firmware made from EDK II keeps the certificates that it trusts for HTTPS boot (NetworkPkg/TlsAuthConfigDxe), and the
// type of an X.509 certificate in a list of signatures (UEFI 2.10 §32.4.1).
var (
	tlsCA    = GUID{0xd0, 0x40, 0x23, 0xfd, 0xab, 0x3d, 0x49, 0x43, 0xa6, 0xc7, 0x3b, 0x4f, 0x12, 0xb4, 0x8e, 0xae}
	certX509 = GUID{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}
)

const tlsCAName = "TlsCaCertificate"

// SetTrust makes these certificates, DER, the ones that the firmware trusts for HTTPS boot. With none it boots over HTTPS from nobody.
func (s *Store) SetTrust(certs [][]byte) {
	s.Delete(tlsCA, tlsCAName)
	var lists []byte
	for _, der := range certs { // each in a list of its own, as they differ in length
		lists = append(lists, certX509[:]...)
		lists = binary.LittleEndian.AppendUint32(lists, uint32(16+3*4+16+len(der)))
		lists = binary.LittleEndian.AppendUint32(lists, 0)
		lists = binary.LittleEndian.AppendUint32(lists, uint32(16+len(der)))
		lists = append(lists, make([]byte, 16)...) // whose it is
		lists = append(lists, der...)
	}
	if len(lists) > 0 {
		s.Set(tlsCA, tlsCAName, lists)
	}
}
