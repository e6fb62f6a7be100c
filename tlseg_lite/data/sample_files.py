"""The sample files: path in the sample folder -> (sha256, size in bytes)."""

SAMPLE_FILES = {
    "bijie": {
        "image/df002.png": (
            "e5e5173ff6b534145895972a3fcc92e2e5d62721030e1a4e7ea0464e6e42ecaf",
            23829,
        ),
        "image/df003.png": (
            "204de3de4507f95f8aac97ee4bda95c926b6c1610257873850db37ecba834462",
            110591,
        ),
        "image/df004.png": (
            "c4879ab6c6d717e3a3e661e28453ecb1a3d94e948543cae254a521663aacff40",
            8888,
        ),
        "image/df005.png": (
            "ab2320f00f2bd630b04b434445df6a0c8afac96533c0db043a45992601bad048",
            176930,
        ),
        "image/df006.png": (
            "f35b11314d3d4682fb78def45a9ebfa8fc21769d7f28629976f8b619d2657b46",
            116138,
        ),
        "image/df007.png": (
            "5cb98aa444a15f54a693215267740f00626f5427a2479730e0498c33497e1888",
            42549,
        ),
        "image/df008.png": (
            "2743ae9f6d1d61aef916f7d04c6df05462d10b0637e058ac85c1e0414666b09c",
            170101,
        ),
        "image/df009.png": (
            "e49d36809ec0e7f283ac627a7430b5021c84d025023633097b7153af8b381079",
            23638,
        ),
        "image/df010.png": (
            "93a7ec7bfe5af7a455ee6b457c6c60883364416415abb3025955abfba46c0fae",
            33756,
        ),
        "image/df011.png": (
            "6f124ac2cae5bb1c98ee1decf5d717e7c2681f640edbef48535a030443dea4b7",
            32490,
        ),
        "image/df012.png": (
            "705277d52f0a83b2beb89babf0238cad22fcf6aa89cbbb4b7a0b261773ff73aa",
            36547,
        ),
        "image/df013.png": (
            "fa2a6cc0b9534676c25a8871a9a88a2337457e7d49c540c2db63be4a04c98ddf",
            109812,
        ),
        "image/df014.png": (
            "b9be4ca7d2afe6bf7a2a9e6be9873e006c79206cef69bd2294e1664e5e917968",
            62256,
        ),
        "image/df015.png": (
            "02bd01b28c2e0113b37a298e783befeb8277c48dc3ec173eb090975bcbfa2276",
            32942,
        ),
        "image/df016.png": (
            "8c4ee17325a66c721feccc0057cf1c8d7e0e7a9e77743da3789c66ce1c936eeb",
            57005,
        ),
        "image/df017.png": (
            "33b929a4348d09dce7f14d01143eed3c97eac71d259688524901cea358ccf9e9",
            76331,
        ),
        "image/df018.png": (
            "ae0ae5688459d72b0a70c2ec6a08f9589ac065432c9440d94904db3af659c775",
            115810,
        ),
        "image/df019.png": (
            "2f12c151cfa142b1ad4165ce63c33cc5ac62bf886423465ddbd5af8e02f07ed9",
            60224,
        ),
        "image/df020.png": (
            "be1260b59fa948693172cf36e794491adc28bd7051a89ce764bac4b0bbb1edae",
            32654,
        ),
        "image/df021.png": (
            "9091a0b1b3c20b31fc67693c0260390db77f01f345534a3aefbb694927624b2e",
            41003,
        ),
        "label/df002.png": (
            "b6ba63bc32191427fa493e4d8d203f5628a1bf5ff4273c82dedf2780433fb3a0",
            405,
        ),
        "label/df003.png": (
            "006a1814fe9dc10ac3b2009372f5ec71d272cc6cd2549d6c917c4b1a2a33575c",
            924,
        ),
        "label/df004.png": (
            "e23d5c87639af7a15fd084dcee6d5fd13145fde5414e5b78fb3c1dbd6f6d47e0",
            235,
        ),
        "label/df005.png": (
            "1fdb9b2b46884040d536d93848861e673b6f390ec997699bb03128bb0666f6c6",
            1389,
        ),
        "label/df006.png": (
            "28b37338d77d85f6856e17000af0ecb151ef72e1909953a1499c4b12c549e5a0",
            907,
        ),
        "label/df007.png": (
            "0428be187246d0de889d465809a6adeab4d262c7ebc0e049f07a01302a80bd28",
            492,
        ),
        "label/df008.png": (
            "db949e98161ac9ab3b9219e09ed8b1aee393945f8a71e0a6db6f8d4b3b76ec5f",
            1121,
        ),
        "label/df009.png": (
            "83e61e020067f3025eb4e04927befe82bd5c25b8204055f380b8f57333e315e6",
            436,
        ),
        "label/df010.png": (
            "c15a87aaa1bc88044226e82ba08b5e6f8e49dfb3c885dd8364ad85a0ea5da6b2",
            369,
        ),
        "label/df011.png": (
            "0e26981c10050101b3080ed18d5a9ad5e384d8ec4e5d59b2b1a41fece33cb54a",
            365,
        ),
        "label/df012.png": (
            "2715240fddb2b985f2c6647ee58e36f8c09199b722c2dda3dc81c96cba3df3cc",
            424,
        ),
        "label/df013.png": (
            "ce37c80963c87f27f512cad033e3f775f925b63c30595214bcafcab3bcb6f487",
            1026,
        ),
        "label/df014.png": (
            "ca4d06d1656b20503f6043f07dbb104d0f2ef6bb1c2fd95ef8bd850c6e7003c1",
            572,
        ),
        "label/df015.png": (
            "6c913c50b47dddcde2c8059d8e016f0ee60ec674b9f5c039f9a22f71620e9530",
            388,
        ),
        "label/df016.png": (
            "ba297ab089733538909f429e9912d5fc2ca105cf6b3c3ff74cf8363de3eb946b",
            481,
        ),
        "label/df017.png": (
            "60fb3c97455f9517288b51f1524c09b449a42df6b973ce816b059188b38e8bf4",
            709,
        ),
        "label/df018.png": (
            "653f0014fa1dde07dc1ddd4a4104b6ec16ddf05a04f76589fabaf40bb31b0410",
            920,
        ),
        "label/df019.png": (
            "dabd9b14a5e501de6a4e924db4f11cf9688024805e2ec5875eaecdcd45e04c23",
            728,
        ),
        "label/df020.png": (
            "08179705310bef1a376e9b1bd2905efa53d20f4e836a8aba2099f185924c3dda",
            466,
        ),
        "label/df021.png": (
            "9e6165b08864e3f01af19ec3ee2cb84e238abe5e6c0286c23ab5772e6bb01a58",
            478,
        ),
    },
    "landslide4sense": {
        "image/0.png": (
            "13d8a0995909789b263093e5288bacc7f83d06e928f0c7f7c33b9c0670a8e8c8",
            22256,
        ),
        "image/1.png": (
            "02078de3973461f78136f84fcc465926302e28b447ede2b278487ba17f6d0f1a",
            19169,
        ),
        "image/2.png": (
            "4e5d386f2279d9048539f701332f8fa940a2358db7db14980a236c62fb41db58",
            22159,
        ),
        "image/3.png": (
            "baed9f2857672e665463a35de0464e7b63a432e6175b683f124f5fb5b6e9bbe4",
            21252,
        ),
        "image/4.png": (
            "faacae74f2f4243ed7593837e4c2dd8189ae7de16ecc18a7cb5fe8f5a6d2fb82",
            25160,
        ),
        "image/5.png": (
            "f11fdb64600743670b09edc4c32cfe6c8329d2c6021816d674ef0f8ef4709d88",
            23087,
        ),
        "image/6.png": (
            "f80a0ee5fa0e628e6e59f84e486c601712ef2b82e9765370d4ea25a7222b5fc7",
            21223,
        ),
        "image/7.png": (
            "c51b909a1c7b4dce77f08e7aae9e3d9ca817916cce73f1bb41b9ed8fc7bd07b9",
            23680,
        ),
        "image/8.png": (
            "5f53bfebe3658727d412364d8db669d0eb768f765d772f742bae387905deadb1",
            21776,
        ),
        "image/9.png": (
            "4c9b35df7f28697ba63a6d8aa6eaf0113b894ac2f78c3bd211b95ecda3071ed2",
            25022,
        ),
        "image/10.png": (
            "ca140ce2e3ba8cad04e33d9f8d05f0fd7fc30386ea3ba009e82c1dee019cf2a4",
            25775,
        ),
        "image/11.png": (
            "2888c6b443358982fe836ad592b0a71b1b82f20579b0f36af1728b49c8b7e8ac",
            26952,
        ),
        "image/12.png": (
            "b3be6ab3d7141c2d6bdb7ae089e03f022267983a618b1f9f86abd1abd6b726de",
            24517,
        ),
        "image/13.png": (
            "c0027fe27f8b143b8bf33fbe649e2f1712b0bf334fa4325cd1983b1a35d10d35",
            22898,
        ),
        "image/14.png": (
            "5537e1739a35a3f79038d7eb8dc1c8057898339d3969e4bf813b947d145bfe29",
            23630,
        ),
        "image/15.png": (
            "8c939a23459ab15ed62a85639493aac2c4526c46c9a9b0f1fcbedaa1b32e3e03",
            20685,
        ),
        "image/16.png": (
            "6a8ac42203c7b82578d131217451fa151f8a1d5054c53d20fc1e0035c5fbd092",
            22638,
        ),
        "image/17.png": (
            "e4c153b047de48177af32c8f4b772537f82c1e0604340176820ef895af5fddb1",
            22606,
        ),
        "image/18.png": (
            "bb4aa67ea7694213ddeb2e04d8aaa247ba838ebe6966f7d3b776f6b51643dbea",
            22428,
        ),
        "image/19.png": (
            "932d98b84673731d0250c4c2a5fb072be563a79ac095e8a13e4f5e3de2c20290",
            23478,
        ),
        "label/0.png": (
            "c3e8ffa5743f3a229edde27ceafce2c799a3d9ee16a140774c22a8555ed61948",
            279,
        ),
        "label/1.png": (
            "99ff0b3aac9b9f3f257ac04938f62d1817c6fdadd2c6a4040830dc3965598968",
            95,
        ),
        "label/2.png": (
            "0146db9419f4a404261de3f6c734f841aa75851ec8b58220bfabae7cf14856ca",
            301,
        ),
        "label/3.png": (
            "6dbd8e96f7b357e024de8298a74a309594d3687d25fb4fe9cb4752606c343fde",
            132,
        ),
        "label/4.png": (
            "fb96e7ff890548d0aec2c3d8dee1e02e7e0d261218e8337f2c5c4f7043e4a9a8",
            636,
        ),
        "label/5.png": (
            "14dcb418d5aa928e8646d8ccec7e2f83f277fee90148f0330db194b25450610a",
            333,
        ),
        "label/6.png": (
            "884cb61d65e4b876f8f74c4d4c8c8fc54676b1abb9be8a52cbc0b94d1d975dbe",
            517,
        ),
        "label/7.png": (
            "c63ca48c04a6e60aa2dfb52044a31b2eb08a12c2a0d752372482b52de5de012e",
            463,
        ),
        "label/8.png": (
            "98d8e8877e85fa1f72687ffc6be3afc0a2c81d95521664b214dea78cc4134944",
            416,
        ),
        "label/9.png": (
            "1f32a22c773ac28ab5f7116e0cd7ffed87efde2e4ab46fa62678689f410d4b72",
            441,
        ),
        "label/10.png": (
            "87830e7d892fc9fd3408e9e4679c4ef0239fa1d7cbdbb3ea680677f93a1f29d8",
            749,
        ),
        "label/11.png": (
            "0d8649e2ecd86c4ac0d88fa58e2e41763829e750b5bebf203f23dbf8ac603034",
            722,
        ),
        "label/12.png": (
            "05c130361440243943b82f140ffc1d32ff30f27cd85a8d1ec8f069d7749072a4",
            498,
        ),
        "label/13.png": (
            "abc9cdd37e3c1560e4e7560345d978ce11dac2f8f6aa9b34c8bb05fe67dab941",
            255,
        ),
        "label/14.png": (
            "26753695423304fb22901a975e9d1b26da019dea4a8c715508647d906de920a4",
            355,
        ),
        "label/15.png": (
            "254493c844513a783a0f4df901ed012db0af7694b934af03e34563584e960093",
            347,
        ),
        "label/16.png": (
            "b55a8c0d8297d7838e3c2adec1286ec4c322e650c194186f3296fc1ec706f184",
            188,
        ),
        "label/17.png": (
            "437d7bf48f27cb6b5467fe6c1f2c3408f9eb2c95427d5d62d9d047026b5ce239",
            301,
        ),
        "label/18.png": (
            "7a9d4456845f86d999b970c97e8c7c944af44a439e3bd8091caa8ccba12dc04e",
            159,
        ),
        "label/19.png": (
            "42941ae2a66785841c2649c44119f5b9bf0a82f12b90491143ad1e1da2beeb71",
            336,
        ),
    },
}
