//! The region tables of the source documents, copied by hand: what the catalog must know, and what it must not invent.

/// A region as the sources have it; an empty field is a half that they lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub id: &'static str,
    /// Route prefixes of the image registry.
    pub registry: &'static str,
    /// VIPs of OSS's internal endpoints.
    pub oss: &'static str,
    /// The internal endpoints of OSS, without `.aliyuncs.com`.
    pub internal: &'static str,
    /// The public endpoint of OSS, without `.aliyuncs.com`.
    pub public: &'static str,
}

/// Every region of the sources.
pub fn regions() -> Vec<Region> {
    let row = |line: &'static str| match line.split('|').map(str::trim).collect::<Vec<_>>()[..] {
        [id, registry, oss, internal, public] => Region { id, registry, oss, internal, public },
        _ => unreachable!("five fields: {line}"),
    };
    REGIONS.trim().lines().map(row).collect()
}

/// A region by its id.
pub fn region(id: &str) -> Region {
    regions().into_iter().find(|region| region.id == id).expect("a region of the table")
}

/// Region | registry | OSS VIPs | internal OSS endpoints | public OSS endpoint. The finance regions stand here with
/// their internal network, the default of a leased line.
const REGIONS: &str = "
cn-hangzhou | 100.103.9.188 100.103.7.181 | 100.118.28.0/24 100.114.102.0/24 100.98.170.0/24 100.118.31.0/24 | oss-cn-hangzhou-internal | oss-cn-hangzhou
cn-shanghai | 100.103.94.158 100.103.7.57 100.100.80.231 | 100.98.35.0/24 100.98.110.0/24 100.98.169.0/24 100.118.102.0/24 | oss-cn-shanghai-internal | oss-cn-shanghai
cn-nanjing | | 100.114.142.0/24 | oss-cn-nanjing-internal | oss-cn-nanjing
cn-fuzhou | 100.100.0.43 100.100.0.28 | 100.115.21.0/24 | oss-cn-fuzhou-internal |
cn-wuhan-lr | | 100.115.89.0/24 | oss-cn-wuhan-lr-internal |
cn-qingdao | 100.100.0.172 100.100.0.207 | 100.115.173.0/24 100.99.113.0/24 100.99.114.0/24 100.99.115.0/24 | oss-cn-qingdao-internal | oss-cn-qingdao
cn-beijing | 100.103.99.73 100.103.0.251 100.103.6.63 | 100.118.58.0/24 100.118.167.0/24 100.118.170.0/24 100.118.171.0/24 100.118.172.0/24 100.118.173.0/24 | oss-cn-beijing-internal | oss-cn-beijing
cn-zhangjiakou | 100.100.1.179 100.100.80.152 | 100.118.90.0/24 100.98.159.0/24 100.114.0.0/24 100.114.1.0/24 | oss-cn-zhangjiakou-internal | oss-cn-zhangjiakou
cn-huhehaote | 100.100.0.194 100.100.80.55 | 100.118.195.0/24 100.99.110.0/24 100.99.111.0/24 100.99.112.0/24 | oss-cn-huhehaote-internal | oss-cn-huhehaote
cn-wulanchabu | 100.100.0.122 100.100.0.58 | 100.114.11.0/24 100.114.12.0/24 100.114.100.0/24 100.118.214.0/24 | oss-cn-wulanchabu-internal | oss-cn-wulanchabu
cn-shenzhen | 100.103.96.139 100.103.6.153 100.103.26.52 | 100.118.78.0/24 100.118.203.0/24 100.118.204.0/24 100.118.217.0/24 | oss-cn-shenzhen-internal | oss-cn-shenzhen
cn-heyuan | 100.100.0.150 100.100.0.193 | 100.98.83.0/24 100.118.174.0/24 | oss-cn-heyuan-internal | oss-cn-heyuan
cn-guangzhou | 100.100.0.101 100.100.0.21 | 100.115.33.0/24 100.114.101.0/24 | oss-cn-guangzhou-internal | oss-cn-guangzhou
cn-chengdu | 100.100.0.48 100.100.0.64 | 100.115.155.0/24 100.99.107.0/24 100.99.108.0/24 100.99.109.0/24 | oss-cn-chengdu-internal | oss-cn-chengdu
cn-zhengzhou-jva | 100.100.0.111 100.100.0.84 | | |
cn-hongkong | 100.103.85.19 100.100.80.157 | 100.115.61.0/24 100.99.103.0/24 100.99.104.0/24 100.99.106.0/24 | oss-cn-hongkong-internal | oss-cn-hongkong
us-west-1 | 100.103.13.55 100.100.80.93 | 100.115.107.0/24 | oss-us-west-1-internal | oss-us-west-1
us-east-1 | 100.103.12.19 100.100.80.11 | 100.115.60.0/24 100.99.100.0/24 100.99.101.0/24 100.99.102.0/24 | oss-us-east-1-internal | oss-us-east-1
na-south-1 | | 100.115.112.0/27 | oss-na-south-1-internal | oss-na-south-1
ap-northeast-1 | 100.100.0.167 100.100.80.198 | 100.114.211.0/24 100.114.114.0/25 | oss-ap-northeast-1-internal | oss-ap-northeast-1
ap-northeast-2 | 100.100.0.71 100.100.0.33 | 100.99.119.0/24 | oss-ap-northeast-2-internal | oss-ap-northeast-2
ap-southeast-1 | 100.103.103.254 100.100.80.136 | 100.118.219.0/24 100.99.213.0/24 100.99.116.0/24 100.99.117.0/24 | oss-ap-southeast-1-internal | oss-ap-southeast-1
ap-southeast-3 | 100.100.0.17 100.100.80.137 | 100.118.165.0/24 100.99.125.0/24 100.99.130.0/24 100.99.131.0/24 | oss-ap-southeast-3-internal | oss-ap-southeast-3
ap-southeast-5 | 100.100.0.226 100.100.80.200 | 100.114.98.0/24 | oss-ap-southeast-5-internal | oss-ap-southeast-5
ap-southeast-6 | 100.100.0.75 100.100.0.24 | 100.115.16.0/24 | oss-ap-southeast-6-internal | oss-ap-southeast-6
ap-southeast-7 | 100.100.0.62 100.100.0.34 | 100.98.249.0/24 | oss-ap-southeast-7-internal | oss-ap-southeast-7
eu-central-1 | 100.100.0.92 100.100.80.155 | 100.115.154.0/24 | oss-eu-central-1-internal | oss-eu-central-1
eu-west-1 | 100.100.0.175 100.100.0.18 | 100.114.114.128/25 | oss-eu-west-1-internal | oss-eu-west-1
me-east-1 | | 100.99.235.0/24 | oss-me-east-1-internal | oss-me-east-1
me-central-1 | 100.100.0.109 100.100.0.18 | 100.99.121.0/24 | oss-me-central-1-internal | oss-me-central-1
cn-hangzhou-finance | | 100.103.4.210 100.115.6.0/24 | oss-cn-hzjbp-a-internal oss-cn-hzjbp-b-internal |
cn-shanghai-finance-1 | 100.100.0.54 100.100.80.227 | 100.115.105.0/24 100.100.36.8 | oss-cn-shanghai-finance-1-internal |
cn-shenzhen-finance-1 | | 100.112.15.0/24 | oss-cn-shenzhen-finance-1-internal |
cn-beijing-finance-1 | | 100.112.52.0/24 | oss-cn-beijing-finance-1-internal |
";
