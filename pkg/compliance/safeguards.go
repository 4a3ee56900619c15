package compliance

// Safeguards are the technical safeguards of 45 CFR 164.312, in the order of the rule.
func Safeguards() []Safeguard {
	return []Safeguard{
		accessControl(), userIdentification(), emergencyAccess(), automaticLogoff(), encryptionAtRest(),
		auditControls(), integrity(), authenticData(), entityAuthentication(),
		transmission(), integrityOnTheWay(), encryptionOnTheWay(),
	}
}

func accessControl() Safeguard {
	return Safeguard{
		Paragraph: "(a)(1)", Name: "Access control",
		Measures: []Measure{
			{
				Answer:   "Whoever asks for anything but the server's health signs in, and one table says what each role may do; what is not in it is refused.",
				Settings: []string{"AUTH_MODE", "ALLOW_UNAUTHENTICATED"},
				Tests:    []string{"pkg/auth TestTable", "pkg/app TestWhoMayDoWhat", "pkg/app TestWhoIsServed", "pkg/app TestEveryRouteSaysWhatItIsFor"},
				off:      anybody,
			},
			{
				Answer:   "Media are fetched by links only, each signed for one path of one video and a time.",
				Settings: []string{"HMAC_SECRET", "HMAC_SECRET_FILE", "APP_ENV"},
				Tests:    []string{"pkg/token TestVerify", "pkg/stream TestTokenIsWanted", "pkg/stream TestPlaylistsAreSignedOnTheWayOut"},
				off:      developmentSecret,
			},
			{
				Answer:   "A link says who has signed it with which key, ends with the key, and may be bound to the client's address.",
				Settings: []string{"AUTH_MODE"},
				Tests: []string{
					"pkg/stream TestLinksSayWhoSignedThem", "pkg/stream TestRevokedKeysLinksEnd", "pkg/stream TestBoundLinks",
					"local/pulsevault TestNginxKnowsWhereALinkIsBoundTo", "local/pulsevault TestKeysEndEverywhere",
				},
				off: anybody,
			},
			{
				Answer:   "Pages of other origins may use the API from a browser only if they are named, and every answer tells browsers what they may not do with it.",
				Settings: []string{"CORS_ORIGINS"},
				Tests:    []string{"pkg/app TestPagesOfCORSOriginsMayUseEveryRoute", "pkg/app TestCORSIsOffUnlessItIsAskedFor", "pkg/app TestEveryAnswerIsSecured"},
				off:      everyOrigin,
			},
			{
				Answer: "Nothing outside the media folder can be named, and no client, however slow, keeps the others out.",
				Tests: []string{
					"pkg/media TestKeysStayInside", "pkg/web TestPathsThatHostsReadDifferentlyAreRefusedBeforeRouting", "pkg/app TestSlowClientsStopNobody",
					"pkg/app TestWhoReadsNothingIsLetGo",
				},
			},
		},
		Clinic: "Who gets which role; the accounts of the machine itself; keys withdrawn when somebody leaves.",
	}
}

func userIdentification() Safeguard {
	return Safeguard{
		Paragraph: "(a)(2)(i)", Name: "Unique user identification",
		Measures: []Measure{{
			Answer:   "The name of the key, or the user of the identity provider, is the userId of everything that is done; nobody takes another's but a service.",
			Settings: []string{"AUTH_MODE"},
			Tests:    []string{"pkg/app TestWhoeverActsIsOnRecord", "pkg/auth TestTokensOfAProvider", "pkg/auth TestKeys"},
			off:      anybody,
		}},
		Clinic: "One key, or one account, for each person or program.",
	}
}

func emergencyAccess() Safeguard {
	return Safeguard{
		Paragraph: "(a)(2)(ii)", Name: "Emergency access procedure",
		Measures: []Measure{{
			Answer:   "Whoever is signed in gets a link of 15 minutes to any video for a reason that is put on record.",
			Settings: []string{"AUTH_MODE"},
			Tests:    []string{"pkg/stream TestEmergency", "pkg/app TestEmergenciesAreListedWithTheirUses"},
			off: func(s Settings) string {
				if s("AUTH_MODE") == "" || s("AUTH_MODE") == "none" {
					return "AUTH_MODE=none lets anybody in at any time, so that an emergency is not on record as one"
				}
				return ""
			},
		}},
		Clinic: "A written procedure, and a review of `pulsevault audit emergencies`.",
	}
}

func automaticLogoff() Safeguard {
	return Safeguard{
		Paragraph: "(a)(2)(iii)", Name: "Automatic logoff", Addressable: true,
		Measures: []Measure{{
			Answer:   "Links end by themselves, within a day at most; silent connections are closed.",
			Settings: []string{"TOKEN_EXPIRY_SECONDS", "TOKEN_MAX_SECONDS"},
			Tests:    []string{"pkg/token TestVerify", "pkg/stream TestSignRefuses", "pkg/upload TestSilentClientIsLetGo"},
			off:      longLinks,
		}},
		Clinic: "Screens that lock; keys made with an end (--expires); short sessions at the identity provider.",
	}
}

func encryptionAtRest() Safeguard {
	return Safeguard{
		Paragraph: "(a)(2)(iv)", Name: "Encryption and decryption", Addressable: true,
		Clinic: "PulseVault writes videos as they are: put MEDIA_ROOT, and the backups, on an encrypted volume (LUKS, BitLocker), or give the bucket encryption by default.",
	}
}

func auditControls() Safeguard {
	return Safeguard{
		Paragraph: "(b)", Name: "Audit controls",
		Measures: []Measure{
			{
				Answer:   "Who did what stands in a hash-chained log before it has an effect; nothing is served that cannot be recorded.",
				Settings: []string{"AUDIT_DIR", "AUDIT_IP"},
				Tests:    []string{"pkg/stream TestNothingIsServedThatCannotBeAudited", "pkg/audit TestManyProcessesOneChain", "local/pulsevault TestKilledAtEachArrow", "pkg/app TestStartAndStopTellTheConfiguration"},
			},
			{
				Answer:   "`pulsevault audit verify` finds a line that was changed, removed, inserted or moved, a removed day, and a tail that was cut.",
				Settings: []string{"AUDIT_DIR"},
				Tests:    []string{"pkg/audit TestVerifyFindsTampering", "local/pulsevault TestAuditVerifyFindsTampering"},
			},
			{
				Answer:   "The ends of all chains are signed together every minute, so that an outsider with the public key and a copy finds a log that was rewritten whole.",
				Settings: []string{"AUDIT_SIGNING_KEY"},
				Tests:    []string{"pkg/audit TestRandomMutationsAreFound", "pkg/audit TestEightProcessesUnderKill", "local/pulsevault TestAuditorsCopy"},
			},
			{
				Answer:   "Who was refused what, and why, is in the log too.",
				Settings: []string{"AUTH_MODE"},
				Tests:    []string{"pkg/app TestRefusalsAreRecordedAndCounted", "pkg/stream TestDenialsAreRecordedWithTheirReason"},
			},
		},
		Clinic: "Reading the log, verifying it on a schedule and away from the machine, and keeping it for six years (164.316(b)(2)(i)).",
	}
}

func integrity() Safeguard {
	return Safeguard{
		Paragraph: "(c)(1)", Name: "Integrity",
		Measures: []Measure{
			{
				Answer: "An original is never written again; a crash, a full disk or a failing call at any moment loses nothing that was acknowledged.",
				Tests:  []string{"local/pulsevault TestKilledAtEachArrow", "local/pulsevault TestEachFileCallFailsOnce", "pkg/upload TestDiskFull"},
			},
			{
				Answer:   "Videos are removed by administrators only, or by their owners where that is allowed; the audit log keeps the entry.",
				Settings: []string{"AUTH_MODE", "OWNER_DELETE"},
				Tests:    []string{"local/pulsevault TestKilledAtEachArrowOfADeletion", "pkg/videos TestDeletionLeavesNothing", "pkg/auth TestOwnersMayDeleteWhereTheSettingAllows"},
				off:      anybody,
			},
		},
		Clinic: "Backups, and a drill of restoring them.",
	}
}

func authenticData() Safeguard {
	return Safeguard{
		Paragraph: "(c)(2)", Name: "Mechanism to authenticate electronic protected health information", Addressable: true,
		Measures: []Measure{{
			Answer: "The SHA-256 of an original, taken as it came in, stands in its record, and that of the record in itself; a record that does not match is refused.",
			Tests: []string{
				"pkg/finalize TestFinalize", "pkg/metadata TestUnmarshalRefusesWhatItsChecksumDoesNotVouchFor", "pkg/metadata TestDamagedRecordStopsTheWrite",
			},
		}},
		Clinic: "Comparing originals with their records after a restore.",
	}
}

func entityAuthentication() Safeguard {
	return Safeguard{
		Paragraph: "(d)", Name: "Person or entity authentication",
		Measures: []Measure{
			{
				Answer:   "A caller shows an API key, of which only the hash is kept, or a token of the clinic's identity provider, whose signature, issuer, audience and time are checked.",
				Settings: []string{"AUTH_MODE", "OIDC_ISSUER", "OIDC_AUDIENCE"},
				Tests: []string{
					"pkg/auth TestNoOtherKeyIsAccepted", "pkg/auth TestARefusalDoesTheSameForEveryKey", "pkg/auth TestTokensOfAProvider",
					"pkg/auth TestKeysOfAProviderRotate", "local/pulsevault TestKeysEndEverywhere",
				},
				off: anybody,
			},
			{
				Answer:   "Redis, which several processes share, wants a password.",
				Settings: []string{"REDIS_HOST", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE"},
				Tests:    []string{"pkg/app TestRedisIsSpokenToAsConfigured", "pkg/redisdb TestEmbeddedIsFoundByOtherProcessesAndRefusesStrangers"},
				off:      openRedis,
			},
			{
				Answer:   "Secrets are changed while links are out, and are in no log, metric, answer, file or argument of a process.",
				Settings: []string{"HMAC_SECRET", "HMAC_SECRET_PREVIOUS", "HMAC_SECRET_FILE"},
				Tests:    []string{"local/pulsevault TestSecretsAreRotated", "local/pulsevault TestSecretsStayWhereTheyBelong", "pkg/app TestSecretsAreNeverShown"},
				off:      rotating,
			},
		},
		Clinic: "A second factor, which the identity provider asks for; handing keys over safely; new secrets now and then.",
	}
}

func transmission() Safeguard {
	return Safeguard{
		Paragraph: "(e)(1)", Name: "Transmission security",
		Measures: []Measure{{
			Answer:   "The server listens on its own machine only, or behind a proxy that it is told to trust, which speaks TLS; browsers are then told to come by TLS only.",
			Settings: []string{"HOST", "TRUSTED_PROXIES"},
			Tests:    []string{"pkg/web TestSecurityHeadersFitTheRequest", "pkg/web TestClientIsTheLastHopThatIsNotTrusted"},
			off:      openPort,
		}},
		Clinic: "The proxy, its certificate, and the network between it and PulseVault.",
	}
}

func integrityOnTheWay() Safeguard {
	return Safeguard{
		Paragraph: "(e)(2)(i)", Name: "Integrity controls", Addressable: true,
		Measures: []Measure{{
			Answer: "Clients may send a checksum with each piece and with the whole; what does not match is not taken. Broken connections go on where they ended.",
			Tests:  []string{"pkg/upload TestPiecesWithChecksums", "pkg/upload TestResumeAfterBrokenConnection", "local/pulsevault TestUploadOverABadNetwork"},
		}},
		Clinic: "Apps that send checksums.",
	}
}

func encryptionOnTheWay() Safeguard {
	return Safeguard{
		Paragraph: "(e)(2)(ii)", Name: "Encryption", Addressable: true,
		Measures: []Measure{
			{
				Answer:   "Redis is spoken to by TLS 1.2 or newer where it is on another machine.",
				Settings: []string{"REDIS_HOST", "REDIS_TLS"},
				Tests:    []string{"pkg/app TestRedisIsSpokenToAsConfigured", "pkg/redisdb TestTLS"},
				off:      plainRedis,
			},
			{
				Answer:   "Buckets and queues are spoken to by TLS where they are on another machine.",
				Settings: []string{"S3_ENDPOINT", "S3_PUBLIC_ENDPOINT", "SQS_ENDPOINT"},
				Tests:    []string{"pkg/app TestBadValuesAreNamed"},
				off:      plainEndpoints,
			},
		},
		Clinic: "TLS between clients and the proxy: versions, ciphers, certificates.",
	}
}
